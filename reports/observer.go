package reports

// Observer is told about a run while it goes on. Calls come from one goroutine at a time.
type Observer interface {
	// RunStarted comes first: what is going to happen, in one line per fact.
	RunStarted(facts ...string)
	PhaseStarted(name string)
	// PhaseNote says what a phase is doing now.
	PhaseNote(note string)
	PhaseFinished(Phase)
	// TierStarted opens the line of a tier with its number of planned tests.
	TierStarted(tier string, tests int)
	// TestFinished comes once per executed test, when it has finished with all its cases.
	TestFinished(Test)
	TierFinished(tier string)
}
