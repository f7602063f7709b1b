package ledger

import (
	"context"
	"slices"
	"time"

	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports"
)

// Auditor implements ports.Auditing.
type Auditor struct {
	Ledger ports.Ledger
	Seals  ports.Seals
	Proofs ports.Proofs
}

var _ ports.Auditing = (*Auditor)(nil)

// Checkpoints implements ports.Auditing.
func (a *Auditor) Checkpoints(ctx context.Context, after int64, limit int) ([]ports.SealedCheckpoint, error) {
	return a.Seals.Checkpoints(ctx, after, limit)
}

// Proof implements ports.Auditing.
func (a *Auditor) Proof(ctx context.Context, customer preference.CustomerID, toCustomer bool) (consent.Proof, error) {
	return a.Proofs.Proof(ctx, customer, func(e consent.Entry) bool { return toCustomer && e.Actor.Type == "operator" })
}

const page = 500

// ConsentAt implements ports.Auditing.
func (a *Auditor) ConsentAt(ctx context.Context, customer preference.CustomerID, at time.Time) (consent.Standing, error) {
	var lines []consent.Line
	for below, more := int64(0), true; more; {
		part, err := a.Ledger.Entries(ctx, customer, below, page)
		if err != nil {
			return consent.Standing{}, err
		}
		lines = append(lines, part...)
		if more = len(part) == page && part[len(part)-1].Seq > 1; more {
			below = part[len(part)-1].Seq
		}
	}
	slices.Reverse(lines)
	return consent.StandingAt(lines, at), nil
}
