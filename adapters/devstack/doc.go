// Package devstack brings up the two things Accord stands on, PostgreSQL and Temporal, on the machine at hand and without
// containers. It serves `accord dev` (state is kept) and, through the package stacktest, the tests (state is thrown away).
//
// Both servers listen on 127.0.0.1 only, write to log files rather than to the caller's output, run in process groups of
// their own (so that Ctrl-C reaches Accord first, which then stops them in order) and end with the process that started
// them, even when that one is killed.
//
// A production deployment uses nothing of this: it names its servers in ACCORD_DATABASE_URL and ACCORD_TEMPORAL_ADDRESS.
package devstack

// Progress receives short sentences for a person who waits: what is being looked for, built or started. It may be called
// from several goroutines. Nil is allowed wherever one is taken.
type Progress func(message string)

func (p Progress) say(message string) {
	if p != nil {
		p(message)
	}
}
