package soak

import (
	"math"
	"slices"
)

// Sample is one measurement of a process.
type Sample struct {
	Seconds float64 `json:"seconds"` // since the process was first seen
	Value   float64 `json:"value"`
}

// trend is the growth of a series: the Theil–Sen slope, which a few outliers do not move, and the bound that it is above with a
// confidence of 99.9 per cent (Sen 1968, by the variance of Kendall's S).
type trend struct {
	slope, least float64 // per second
	seconds      float64 // of the window
	points       int
}

const (
	// warmUp is the part of a series that is left out: caches fill, connections are made, heaps find their size.
	warmUp = 0.25
	// maxPoints bounds the work, which grows with the square. What is between two points is not lost: a point is the median of its
	// samples, which also takes most of what makes neighbours alike, and so the bound too narrow.
	maxPoints = 60
	// minPoints are needed to tell a trend from noise.
	minPoints = 12
	// deviate of the normal distribution for the confidence, one-sided.
	deviate = 3.09
)

// fit is the trend of a series after its warm-up. ok is false if there is too little of it.
func fit(samples []Sample) (result trend, ok bool) {
	if len(samples) == 0 {
		return trend{}, false
	}
	first, last := samples[0].Seconds, samples[len(samples)-1].Seconds
	warm := slices.DeleteFunc(slices.Clone(samples), func(s Sample) bool { return s.Seconds < first+warmUp*(last-first) })
	points := medians(warm, maxPoints)
	n := len(points)
	if n < minPoints {
		return trend{points: n}, false
	}
	var slopes []float64
	for i, a := range points {
		for _, b := range points[i+1:] {
			if b.Seconds > a.Seconds {
				slopes = append(slopes, (b.Value-a.Value)/(b.Seconds-a.Seconds))
			}
		}
	}
	if len(slopes) == 0 {
		return trend{points: n}, false
	}
	slices.Sort(slopes)
	f := float64(n)
	width := deviate * math.Sqrt(f*(f-1)*(2*f+5)/18)
	least := max(0, int((float64(len(slopes))-width)/2))
	return trend{slope: slopes[len(slopes)/2], least: slopes[least], seconds: points[n-1].Seconds - points[0].Seconds, points: n}, true
}

// growth in the window that is there with confidence.
func (t trend) growth() float64 { return t.least * t.seconds }

// medians are at most n points, each the median of as many neighbours.
func medians(samples []Sample, n int) []Sample {
	size := (len(samples) + n - 1) / n
	if size <= 1 {
		return samples
	}
	var points []Sample
	for block := range slices.Chunk(samples, size) {
		points = append(points, Sample{median(block, func(s Sample) float64 { return s.Seconds }), median(block, func(s Sample) float64 { return s.Value })})
	}
	return points
}

func median(samples []Sample, of func(Sample) float64) float64 {
	var values []float64
	for _, s := range samples {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
