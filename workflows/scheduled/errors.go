// Package scheduled is what the workflows of schedules have in common: their runs may be terminated, started twice and tried again
// as they like, since the database knows how far everything is.
package scheduled

import (
	"context"
	"errors"

	"go.temporal.io/sdk/temporal"

	"accord/domain/fault"
)

// ToTemporal is the outermost thing their activities do. It keeps causes out: they copy text into histories. Everything may be
// tried again.
func ToTemporal(err error) error {
	f, is := fault.As(err)
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case is:
		return temporal.NewApplicationError(f.Message, f.Code)
	}
	return temporal.NewApplicationError("internal", "internal")
}
