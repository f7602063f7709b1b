package preferences

import (
	"context"
	"time"

	"accord/domain/consent"
	"accord/domain/preference"
)

// pruneUnregistered takes away the devices of which the push provider says that their platform does not know the token any
// more, as operations of their own behind this one. What held when it was read is what counts: a device that is registered
// again meanwhile stays. It cannot fail the change; who reads the same again, tries again.
func (a *Activities) pruneUnregistered(ctx context.Context, op preference.Operation, current preference.Holding, read time.Time) {
	after := preference.Restore(op.Customer, op.After, a.Catalogue)
	for item, state := range current {
		if item.Kind != preference.DeviceItem || state != preference.Unregistered || item.Key == op.Change.Token() {
			continue
		}
		device, known := after.ByToken(item.Key)
		if !known {
			continue // it is going, or was never ours
		}
		err := a.submit(ctx, op.Customer, preference.Request{
			ID: a.NewID(), Change: preference.PruneDevice(device.ID, device.Token, read), Source: preference.FromPush,
			Actor: preference.System, Origin: consent.Origin{Source: string(preference.FromPush)}, Cause: preference.CauseUnregistered,
			Only: []preference.Target{preference.CRM, preference.Push}, Elsewhere: true, DecidedAt: read,
		})
		if err != nil {
			a.Logger.WarnContext(ctx, "a token that is not registered any more was not taken away", "operation", op.ID, "error", err)
		}
	}
}
