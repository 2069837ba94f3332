package reports

import "testing"

func TestWorstIsTheMostSevereStatus(t *testing.T) {
	for name, tc := range map[string]struct {
		statuses []Status
		want     Status
	}{
		"nothing was executed":                      {nil, Skip},
		"a skip beside a pass does not hide it":     {[]Status{Pass, Skip}, Pass},
		"a warning outranks a pass":                 {[]Status{Pass, Warn, Pass}, Warn},
		"a flake outranks a warning":                {[]Status{Flake, Warn}, Flake},
		"a failure outranks a flake":                {[]Status{Flake, Fail}, Fail},
		"an error outranks a failure":               {[]Status{Error, Fail}, Error},
		"all of them":                               {[]Status{Skip, Pass, Warn, Flake, Fail, Error}, Error},
		"an unknown status is never taken for good": {[]Status{Pass, "passed"}, Error},
		"an unset status is never taken for good":   {[]Status{""}, Error},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Worst(tc.statuses...); got != tc.want {
				t.Errorf("Worst(%q) = %q, want %q", tc.statuses, got, tc.want)
			}
		})
	}
}

func TestWorstDoesNotDependOnTheOrder(t *testing.T) {
	for _, a := range severity {
		for _, b := range severity {
			if Worst(a, b) != Worst(b, a) {
				t.Errorf("Worst(%q, %q) = %q, the other way round %q", a, b, Worst(a, b), Worst(b, a))
			}
		}
	}
}
