package journey

// Way is when the unit reached each step for the first time, from its first Invited on, each at or after the one before and
// without a window; 0: not reached. From Registered on it is the way of one enrollment, of the one that got furthest: among
// those, the one that was there first. It is what a table can say of a journey; a report's attempts have windows and orders.
func (j Journey) Way() [Steps]int64 {
	var best [Steps]int64
	enrollments := int16(0)
	for _, f := range j.Facts {
		enrollments = max(enrollments, f.Enrollment)
	}
	reached := 0
	for e := min(1, enrollments); e <= enrollments; e++ {
		way, n := j.wayOf(e)
		if n > reached || n == reached && n > 0 && way[n-1] < best[n-1] {
			best, reached = way, n
		}
	}
	return best
}

// wayOf is the way of one enrollment. What is about the account belongs to every enrollment.
func (j Journey) wayOf(enrollment int16) (way [Steps]int64, reached int) {
	from := int64(0)
	for step := Invited; int(step) <= Steps; step++ {
		at, ok := j.first(step, enrollment, from)
		if !ok {
			break
		}
		way[step-1], from = at, at
		reached++
	}
	return way, reached
}

func (j Journey) first(kind Kind, enrollment int16, from int64) (at int64, ok bool) {
	for _, f := range j.Facts {
		if f.Kind == kind && f.At >= from && (f.Enrollment == 0 || f.Enrollment == enrollment || kind == Invited) {
			return f.At, true
		}
	}
	return 0, false
}
