package ports

import (
	"context"
	"time"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
)

// Ledger reads the ledger. Entries are written by Accounts and Erasures only, in the transaction of what they record.
type Ledger interface {
	// Entries of one customer in clear, newest first, below the given seq (0 for the newest), at most limit. A customer
	// nobody has heard of has none.
	Entries(ctx context.Context, customer preference.CustomerID, below int64, limit int) ([]consent.Line, error)

	// Verify walks every chain, also of those who were erased, or one (by its own name or its customer's, when only is
	// not empty) and calls found for each thing wrong. Bodies whose key is not at hand are held against their hashes alone.
	Verify(ctx context.Context, only string, found func(consent.Finding)) (Verified, error)
}

// Verified is how much Verify has read.
type Verified struct {
	Chains  int64
	Entries int64
	Closed  int64 // entries among them whose key is not at hand
	Erased  int64 // chains among them of people who were erased: their keys are destroyed
}

// ChainKeys wraps the data keys of the ledger's chains under keys that are kept outside the database.
type ChainKeys interface {
	// Wrap seals a data key under the current key, for this chain and no other.
	Wrap(chain string, key consent.Key) ([]byte, error)

	// Unwrap opens it. Errors: ErrKeyMissing when the key that it was wrapped under is not at hand; any other error when
	// it was changed or is of another chain.
	Unwrap(chain string, wrapped []byte) (consent.Key, error)

	// Current reports that it is wrapped under the current key.
	Current(wrapped []byte) bool
}

// ErrKeyMissing is the answer where a key from outside the database is needed and not configured.
var ErrKeyMissing = fault.New(fault.Unavailable, "ledger-key-missing", "the key of the ledger's keys is not configured here")

// KeyStore keeps the wrapped data keys.
type KeyStore interface {
	// Rewrap wraps the data keys of up to limit customers after the given one (in the order of their ids, empty for the
	// start) under the current key, where they are not yet. It answers the last customer it has looked at, empty when
	// there is none after it, and how many keys it has wrapped anew. Repeating it changes nothing more.
	Rewrap(ctx context.Context, after preference.CustomerID, limit int) (last preference.CustomerID, rewrapped int, err error)
}

// SealedCheckpoint is one as it is stored and handed out.
type SealedCheckpoint struct {
	Number   int64 // 1, 2, 3 …
	Size     int64
	Root     consent.Hash
	SealedAt time.Time
	Note     string // the checkpoint, signed
	Verifier string // what its signature is verified by
}

// Seals keeps the log of the chains' ends, and its checkpoints.
type Seals interface {
	// Seal adds the ends of the chains that have grown since the last checkpoint to the log, those of at most limit
	// entries, and stores the checkpoint that sign makes of it, all in one transaction. It answers nil when nothing has
	// grown, and more when not all of it is sealed. Whoever calls at the same time waits. sign must not write to the store,
	// and may be called again.
	Seal(ctx context.Context, limit int, now time.Time, sign func(size int64, root consent.Hash, at time.Time) (note, verifier string, err error)) (sealed *SealedCheckpoint, more bool, err error)

	// Checkpoints lists them by number, after the given one.
	Checkpoints(ctx context.Context, after int64, limit int) ([]SealedCheckpoint, error)

	// SealState tells how far the sealing is.
	SealState(ctx context.Context) (SealState, error)

	// VerifySeals reads the whole log: that the roots of the claims are those of its leaves, that what the leaves seal is in
	// the ledger still, and that every chain is sealed to its end or waits to be. Claims are checkpoints whose signatures
	// were verified, the store's own or kept elsewhere, in any order.
	VerifySeals(ctx context.Context, claims []Claim, found func(consent.Finding)) (leaves int64, err error)
}

// Claim is a checkpoint that somebody has.
type Claim struct {
	Where string // for findings
	Size  int64
	Root  consent.Hash
}

// SealState is how far the sealing is.
type SealState struct {
	Unsealed int64     // entries that no checkpoint covers yet
	Last     time.Time // of the last checkpoint, zero when there is none
}

// Notary signs checkpoints, and hands them out.
type Notary interface {
	// Sign makes the checkpoint, and tells what verifies it.
	Sign(size int64, root consent.Hash, at time.Time) (note, verifier string, err error)

	// HandOut keeps checkpoints outside the database. Repeating it changes nothing. Errors: fault.Unavailable when it could
	// not be done now.
	HandOut(ctx context.Context, c []SealedCheckpoint) error

	// HandedOut is the number of the last one handed out, 0 when there is none or nowhere to hand them out to.
	HandedOut(ctx context.Context) (int64, error)
}

// LedgerUpkeep is what happens to the ledger by itself.
type LedgerUpkeep interface {
	// Seal makes checkpoints until everything is sealed, and hands out what was not yet. Repeating it changes nothing.
	Seal(ctx context.Context) (Sealed, error)
}

// Sealed is what Seal has done.
type Sealed struct {
	Checkpoints int   `json:"checkpoints"`
	Size        int64 `json:"size"` // of the log, 0 when nothing was sealed
	HandedOut   int   `json:"handed_out"`
}

// Proofs takes a chain out of the ledger for somebody who does not trust us.
type Proofs interface {
	// Proof is a customer's whole chain as a file that can be checked without us, of one moment. closed tells which entries
	// are not to be read by who gets it. A customer who has no ledger has one without
	// entries. Errors: ErrKeyMissing.
	Proof(ctx context.Context, customer preference.CustomerID, closed func(consent.Entry) bool) (consent.Proof, error)
}

// Auditing is what is asked of the ledger by those it is kept for. The caller has made sure who asks.
type Auditing interface {
	// Checkpoints lists them by number, after the given one.
	Checkpoints(ctx context.Context, after int64, limit int) ([]SealedCheckpoint, error)

	// Proof of a customer's ledger. What members of staff did is closed to the customer: its hashes are there, and not who
	// it was. Who has no ledger has a proof without entries.
	Proof(ctx context.Context, customer preference.CustomerID, toCustomer bool) (consent.Proof, error)

	// ConsentAt is what held at a time, as the ledger tells it.
	ConsentAt(ctx context.Context, customer preference.CustomerID, at time.Time) (consent.Standing, error)
}
