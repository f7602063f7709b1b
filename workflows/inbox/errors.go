package inbox

import (
	"context"
	"errors"

	"go.temporal.io/sdk/temporal"

	"accord/domain/fault"
	"accord/ports"
)

// toTemporal is the one place where a failure becomes retryable or not, and the outermost thing each activity does.
// Causes stay out: they copy text into histories.
func toTemporal(err error) error {
	if err == nil {
		return nil
	}
	if t, is := ports.AsTargetError(err); is {
		return temporal.NewApplicationErrorWithOptions(t.Error(), t.Code, temporal.ApplicationErrorOptions{
			NonRetryable: t.Class == ports.Refused, NextRetryDelay: t.RetryAfter, Category: temporal.ApplicationErrorCategoryBenign})
	}
	if f, is := fault.As(err); is {
		switch f.Kind {
		case fault.Unavailable, fault.Internal:
			return temporal.NewApplicationError(f.Message, f.Code)
		}
		return temporal.NewNonRetryableApplicationError(f.Message, f.Code, nil)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err // the attempt itself was ended
	}
	return temporal.NewApplicationError("internal", "internal")
}
