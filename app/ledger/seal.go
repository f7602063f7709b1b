// Package ledger holds the use cases around the ledger as such: sealing it, and proving what is in it.
package ledger

import (
	"context"
	"time"

	"accord/ports"
)

// Sealer implements ports.LedgerUpkeep.
type Sealer struct {
	Seals  ports.Seals
	Notary ports.Notary
	Now    func() time.Time
}

var _ ports.LedgerUpkeep = (*Sealer)(nil)

const (
	sealBatch = 10_000 // entries for one checkpoint
	handOut   = 500    // checkpoints handed out at once
)

// Seal implements ports.LedgerUpkeep. What if we crash between sealing and handing out? What was handed out last is looked
// up each time, so the next call does it.
func (s *Sealer) Seal(ctx context.Context) (done ports.Sealed, err error) {
	for more := true; more; {
		var sealed *ports.SealedCheckpoint
		if sealed, more, err = s.Seals.Seal(ctx, sealBatch, s.Now(), s.Notary.Sign); err != nil {
			return done, err
		}
		if sealed != nil {
			done.Checkpoints++
			done.Size = sealed.Size
		}
	}
	last, err := s.Notary.HandedOut(ctx)
	if err != nil {
		return done, err
	}
	for {
		page, err := s.Seals.Checkpoints(ctx, last, handOut)
		if err != nil {
			return done, err
		}
		if err := s.Notary.HandOut(ctx, page); err != nil {
			return done, err
		}
		done.HandedOut += len(page)
		if len(page) < handOut {
			return done, nil
		}
		last = page[len(page)-1].Number
	}
}
