package ports

import (
	"context"

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
