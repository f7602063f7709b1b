package ledger_test

import (
	"errors"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"accord/app/ledger"
	"accord/ports"
	"accord/ports/mocks"
)

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// Sealing goes on until nothing is left, and what a crash kept from being handed out is handed out by the next.
func TestWhatWasNotHandedOutIsHandedOutNextTime(t *testing.T) {
	t.Parallel()
	ctrl := gomock.NewController(t)
	seals, notary := mocks.NewMockSeals(ctrl), mocks.NewMockNotary(ctrl)
	sealer := &ledger.Sealer{Seals: seals, Notary: notary, Now: func() time.Time { return now }}
	page := []ports.SealedCheckpoint{{Number: 4}, {Number: 5}, {Number: 6}}
	gomock.InOrder(
		seals.EXPECT().Seal(gomock.Any(), gomock.Any(), now, gomock.Any()).Return(&ports.SealedCheckpoint{Number: 5, Size: 50}, true, nil),
		seals.EXPECT().Seal(gomock.Any(), gomock.Any(), now, gomock.Any()).Return(&ports.SealedCheckpoint{Number: 6, Size: 60}, false, nil),
		notary.EXPECT().HandedOut(gomock.Any()).Return(int64(3), nil),
		seals.EXPECT().Checkpoints(gomock.Any(), int64(3), gomock.Any()).Return(page, nil),
		notary.EXPECT().HandOut(gomock.Any(), page).Return(nil),
	)
	done, err := sealer.Seal(t.Context())
	require.NoError(t, err)
	require.Equal(t, ports.Sealed{Checkpoints: 2, Size: 60, HandedOut: 3}, done)
}

func TestAFailureToHandOutIsTold(t *testing.T) {
	t.Parallel()
	ctrl := gomock.NewController(t)
	seals, notary := mocks.NewMockSeals(ctrl), mocks.NewMockNotary(ctrl)
	full := errors.New("disk full")
	seals.EXPECT().Seal(gomock.Any(), gomock.Any(), gomock.Any(), gomock.Any()).Return(nil, false, nil)
	notary.EXPECT().HandedOut(gomock.Any()).Return(int64(0), nil)
	seals.EXPECT().Checkpoints(gomock.Any(), int64(0), gomock.Any()).Return([]ports.SealedCheckpoint{{Number: 1}}, nil)
	notary.EXPECT().HandOut(gomock.Any(), gomock.Any()).Return(full)
	_, err := (&ledger.Sealer{Seals: seals, Notary: notary, Now: time.Now}).Seal(t.Context())
	require.ErrorIs(t, err, full)
}
