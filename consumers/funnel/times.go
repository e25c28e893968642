package funnel

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"
)

// bucketEnds are the histogram's: what somebody would say of a time, from a minute to the longest window.
var bucketEnds = func() []int64 {
	const day = 24 * time.Hour
	var ends []int64
	for _, d := range []time.Duration{
		time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour, 12 * time.Hour,
		day, 2 * day, 3 * day, 7 * day, 14 * day, 30 * day, 60 * day, 120 * day, maxWindow,
	} {
		ends = append(ends, int64(d))
	}
	return ends
}()

// bucketFrom is the first bucket that a time of so many bits can be in.
var bucketFrom = func() (from [65]int) {
	for n := 1; n < len(from); n++ {
		for from[n] = from[n-1]; from[n] < len(bucketEnds)-1 && bits.Len64(uint64(bucketEnds[from[n]])) < n; {
			from[n]++
		}
	}
	return from
}()

// timeToConvert reorders times.
func timeToConvert(times []int64) TimeToConvert {
	t := TimeToConvert{Histogram: []Bucket{}}
	if len(times) == 0 {
		return t
	}
	t.MedianSeconds, t.P90Seconds = new(percentile(times, 0.5)), new(percentile(times, 0.9))
	counts := make([]int, len(bucketEnds))
	last := 0
	for _, d := range times {
		i := bucketFrom[bits.Len64(uint64(d))]
		for d > bucketEnds[i] {
			i++
		}
		counts[i]++
		last = max(last, i)
	}
	for i, n := range counts[:last+1] {
		t.Histogram = append(t.Histogram, Bucket{time.Duration(bucketEnds[i]).Seconds(), n})
	}
	return t
}

// percentile interpolates between the two neighbours of the place, as PostgreSQL's percentile_cont, in seconds. It reorders
// times.
func percentile(times []int64, p float64) float64 {
	place := p * float64(len(times)-1)
	low := int(math.Floor(place))
	a := nth(times, low)
	b := a
	if low+1 < len(times) {
		b = slices.Min(times[low+1:]) // nth leaves what is not smaller behind it
	}
	return (float64(a) + (place-float64(low))*float64(b-a)) / float64(time.Second)
}

// nth moves the value that sorting would put at n there, and smaller ones before it: a sort of a million times costs more
// than the whole count.
func nth(v []int64, n int) int64 {
	low, high := 0, len(v)-1
	for low < high {
		pivot := median3(v[low], v[low+(high-low)/2], v[high])
		i, j := low, high
		for i <= j {
			for v[i] < pivot {
				i++
			}
			for v[j] > pivot {
				j--
			}
			if i <= j {
				v[i], v[j] = v[j], v[i]
				i++
				j--
			}
		}
		switch {
		case n <= j:
			high = j
		case n >= i:
			low = i
		default:
			return v[n]
		}
	}
	return v[n]
}

func median3(a, b, c int64) int64 { return max(min(a, b), min(max(a, b), c)) }

// kaplanMeier estimates the share that will have converted once all windows are over: those in progress count as long as they
// were watched (Kaplan and Meier, 1958). waiting are their ages; dropped were watched to the end. Null without attempts.
func kaplanMeier(converted, waiting []int64, dropped int) *float64 {
	watched := len(converted) + len(waiting) + dropped
	if watched == 0 {
		return nil
	}
	if len(waiting) == 0 {
		return rate(len(converted), watched)
	}
	events, ages := slices.Clone(converted), slices.Clone(waiting)
	slices.Sort(events)
	slices.Sort(ages)
	survived, atRisk := 1.0, watched
	for len(events) > 0 {
		at, n, gone := events[0], 0, 0
		for n < len(events) && events[n] == at {
			n++
		}
		for gone < len(ages) && cmp.Less(ages[gone], at) { // whoever was watched to that very moment still was at risk
			gone++
		}
		ages, atRisk = ages[gone:], atRisk-gone
		survived *= 1 - float64(n)/float64(atRisk)
		events, atRisk = events[n:], atRisk-n
	}
	return new(1 - survived)
}
