package preferences_test

import (
	"context"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"accord/app/preferences"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/mocks"
)

// doubtful is a store whose answers to commits get lost. What it is told is stored, or not.
type doubtful struct {
	*memory
	stores bool
}

func (d doubtful) Update(ctx context.Context, c preference.CustomerID, key string, fn func(*preference.Account) error) error {
	if d.stores {
		if err := d.memory.Update(ctx, c, key, fn); err != nil {
			return err
		}
	}
	return fault.New(fault.Unavailable, "outcome-unknown", "nobody knows")
}

// TestAnAnswerThatWasLostIsLookedFor: who asked is told what is known. Only where nothing is, that it is not.
func TestAnAnswerThatWasLostIsLookedFor(t *testing.T) {
	t.Parallel()
	for _, stored := range []bool{true, false} {
		service, store, runs := rig(t)
		config := service.Config
		operations := mocks.NewMockOperations(gomock.NewController(t))
		operations.EXPECT().Operation(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(func(_ context.Context, id string) (ports.OperationState, error) {
			store.mu.Lock()
			defer store.mu.Unlock()
			if store.ops[id] == nil {
				return ports.OperationState{}, fault.New(fault.NotFound, "not-found", "no such operation")
			}
			return ports.OperationState{Operation: *store.ops[id]}, nil
		})
		if stored {
			runs.EXPECT().Start(gomock.Any(), gomock.Any()).Return(nil)
		}
		config.Accounts, config.Operations = doubtful{store, stored}, operations
		doubting := preferences.New(config)
		t.Cleanup(doubting.Close)
		result, err := doubting.Change(t.Context(), email(t, preference.Subscribed, "k"))
		if stored {
			require.NoError(t, err)
			require.Equal(t, "op-1", result.Operation.ID)
			continue
		}
		f, is := fault.As(err)
		require.True(t, is, err)
		require.Equal(t, "outcome-unknown", f.Code)
	}
}

// stuck is a store that is gone when a grant that was not started is to be closed.
type stuck struct{ *memory }

func (stuck) UpdateStill(context.Context, string, func(*preference.Account, *preference.Operation, bool) error) error {
	return fault.New(fault.Unavailable, "unavailable", "the store cannot be reached")
}

// TestAGrantThatCanNeitherBeStartedNorClosedIsInDoubt: the sweeper will start it, so nobody may be told that nothing was done.
func TestAGrantThatCanNeitherBeStartedNorClosedIsInDoubt(t *testing.T) {
	t.Parallel()
	service, store, runs := rig(t)
	config := service.Config
	config.Accounts = stuck{store}
	doubting := preferences.New(config)
	t.Cleanup(doubting.Close)
	runs.EXPECT().Start(gomock.Any(), gomock.Any()).Return(down())
	_, err := doubting.Change(t.Context(), email(t, preference.Subscribed, "k"))
	f, is := fault.As(err)
	require.True(t, is, err)
	require.Equal(t, "outcome-unknown", f.Code)
}
