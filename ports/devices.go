package ports

import (
	"context"
	"time"

	"accord/domain/preference"
)

// Devices finds registered devices across customers. Errors: fault.Unavailable when the database can't be reached.
type Devices interface {
	// Holders lists who has registered the token but for one customer (empty for nobody), latest first.
	Holders(ctx context.Context, token string, except preference.CustomerID) ([]Holder, error)

	// Contested tells whether anybody but the customer has registered the token, or is about to.
	Contested(ctx context.Context, token string, customer preference.CustomerID) (bool, error)

	// Unseen lists devices of which nothing was heard since before, those silent for longest first, after the last one of the
	// page before (the zero value for the start).
	Unseen(ctx context.Context, before time.Time, after UnseenDevice, limit int) ([]UnseenDevice, error)
}

// UnseenDevice is a device of which nothing was heard for a while.
type UnseenDevice struct {
	Customer preference.CustomerID
	Device   preference.DeviceID
	SeenAt   time.Time
}

// DeviceUpkeep takes away devices that reach nobody, by operations of their customers. All of it can be repeated: a device
// that has gone, or that was registered again since, is left alone.
type DeviceUpkeep interface {
	// PruneToken takes a token away from everybody who has it, and answers the operations it was accepted as: none when
	// nobody has it, or everybody has registered it again since. Errors: fault.Invalid when p names nothing,
	// fault.Unavailable when the database can't be reached.
	PruneToken(ctx context.Context, p TokenPrune) (operations []string, err error)

	// PruneStale takes away some of the devices that nothing was heard of for too long.
	PruneStale(ctx context.Context) (PrunedDevices, error)
}

// TokenPrune says that a token reaches nobody.
type TokenPrune struct {
	// Token, or Customer and Device, name it. With Token and Customer only that customer loses it.
	Token    string
	Customer preference.CustomerID
	Device   preference.DeviceID

	Cause     string            // such as preference.CauseUnregistered
	Source    preference.Source // who found it out
	DecidedAt time.Time         // when that was; zero for now
}

// PrunedDevices counts what one step has done.
type PrunedDevices struct {
	Found  int  `json:"found"`  // silent for too long
	Pruned int  `json:"pruned"` // accepted as operations; the others are under way already, or were heard of since
	More   bool `json:"more"`   // left for the next time
}
