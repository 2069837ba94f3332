package soak

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

const mib = 1 << 20

// sampled has a sample every 5 seconds.
func sampled(n int, value func(i int, r *rand.Rand) float64, seed uint64) []Sample {
	r := rand.New(rand.NewPCG(seed, 0))
	var samples []Sample
	for i := range n {
		samples = append(samples, Sample{float64(5 * i), value(i, r)})
	}
	return samples
}

// shapes of memory that does not leak. The amplitudes are those of a heap of 40 MiB.
var shapes = map[string]func(i int, r *rand.Rand) float64{
	"constant":            func(int, *rand.Rand) float64 { return 40 * mib },
	"noise":               func(_ int, r *rand.Rand) float64 { return 40*mib + 4*mib*r.NormFloat64() },
	"a saw of collection": func(i int, r *rand.Rand) float64 { return 40*mib + float64(i%37)*mib/2 + mib*r.NormFloat64() },
	"a slow saw":          func(i int, r *rand.Rand) float64 { return 40*mib + float64(i%211)*mib/16 + mib*r.NormFloat64() },
	"a start that grows":  func(i int, r *rand.Rand) float64 { return 40*mib*(1-math.Exp(-float64(i)/20)) + mib*r.NormFloat64() },
	"rare peaks":          func(i int, r *rand.Rand) float64 { return 40*mib + map[bool]float64{true: 90 * mib}[r.IntN(20) == 0] },
	"it shrinks":          func(i int, r *rand.Rand) float64 { return 80*mib - float64(i)*mib/10 + mib*r.NormFloat64() },
}

func TestASeriesThatIsFlatNeverAlarms(t *testing.T) {
	for name, shape := range shapes {
		for _, n := range []int{16, 40, 120, 720, 5760} { // 80 seconds to 8 hours
			t.Run(fmt.Sprintf("%s, %d samples", name, n), func(t *testing.T) {
				for seed := range uint64(50) {
					result, ok := fit(sampled(n, shape, seed))
					if !ok {
						t.Fatalf("%d samples are not enough", n)
					}
					if leaks(result, memoryAllowance) {
						t.Fatalf("seed %d: a leak of %.2f KiB/s, at least %.2f, is seen in %d points", seed, result.slope/1024, result.least/1024, result.points)
					}
				}
			})
		}
	}
}

func TestALeakIsFoundWhateverTheNoise(t *testing.T) {
	for name, shape := range shapes {
		if name == "it shrinks" {
			continue
		}
		for _, c := range []struct {
			samples   int
			perSecond float64
		}{{30, 4 * mib}, {120, 256 * 1024}, {720, 40 * 1024}, {5760, 5 * 1024}} {
			t.Run(fmt.Sprintf("%s, %.0f KiB/s in %d samples", name, c.perSecond/1024, c.samples), func(t *testing.T) {
				for seed := range uint64(50) {
					result, ok := fit(sampled(c.samples, func(i int, r *rand.Rand) float64 { return shape(i, r) + c.perSecond*5*float64(i) }, seed))
					if !ok || !leaks(result, memoryAllowance) {
						t.Fatalf("seed %d: it is not seen: %+v", seed, result)
					}
				}
			})
		}
	}
}

func TestDescriptorsLeakByThePiece(t *testing.T) {
	flat := func(_ int, r *rand.Rand) float64 { return float64(12 + r.IntN(6)) }
	for seed := range uint64(50) {
		if result, _ := fit(sampled(720, flat, seed)); leaks(result, descriptorAllowance) {
			t.Fatalf("seed %d: a leak of %+v", seed, result)
		}
		leaking := sampled(720, func(i int, r *rand.Rand) float64 { return flat(i, r) + float64(i)/20 }, seed) // one in 100 seconds
		if result, _ := fit(leaking); !leaks(result, descriptorAllowance) {
			t.Fatalf("seed %d: it is not seen: %+v", seed, result)
		}
	}
}

func TestTooLittleIsNotJudged(t *testing.T) {
	for name, samples := range map[string][]Sample{
		"nothing": nil, "one": {{1, 1}}, "eleven": sampled(11, shapes["constant"], 1), "all at one time": make([]Sample, 100),
	} {
		if result, ok := fit(samples); ok {
			t.Errorf("%s: %+v", name, result)
		}
	}
}
