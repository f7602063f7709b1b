package consent_test

import "testing"

// BenchmarkAppend is what the ledger adds to the processor time of a change.
func BenchmarkAppend(b *testing.B) {
	c := empty("ch_ada")
	for b.Loop() {
		if _, _, err := c.Append(entry(1)); err != nil {
			b.Fatal(err)
		}
	}
}
