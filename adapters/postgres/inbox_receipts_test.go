package postgres

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/fault"
	"accord/domain/inbox"
)

func TestReceiptsSurvivePacking(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := drawReceipts(t)
		got, err := unpackReceipts(packReceipts(want))
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func drawReceipts(t *rapid.T) (out inbox.Receipts) {
	when := rapid.Int64Range(-1e15, 4e15)
	for id := range rapid.MapOf(rapid.Int64Range(1, math.MaxInt64), rapid.Just(true)).Draw(t, "ids") {
		r := inbox.GlobalReceipt{ID: inbox.MessageID(id), Changed: rapid.Int64Range(0, math.MaxInt64).Draw(t, "changed")}
		set := rapid.IntRange(1, 63).Draw(t, "set")
		for bit, at := range receiptTimes(&r.Receipt) {
			if set&(1<<bit) != 0 {
				*at = time.UnixMicro(when.Draw(t, "at")).UTC()
			}
		}
		out = out.With(r)
	}
	return out
}

func TestPackedReceiptsAreSmall(t *testing.T) {
	t.Parallel()
	var receipts inbox.Receipts
	now := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	for i := range 1000 {
		at := now.Add(time.Duration(i) * time.Minute)
		receipts = append(receipts, inbox.GlobalReceipt{ID: inbox.MessageID(10_000_000 + 7*i), Changed: int64(i),
			Receipt: inbox.Receipt{SeenAt: at, ReadAt: at}})
	}
	require.Less(t, len(packReceipts(receipts)), 1000*10, "bytes for a thousand messages that were read")
	require.Empty(t, packReceipts(nil))
	require.NotNil(t, packReceipts(nil), "the column is not null")
	require.Empty(t, packReceipts(inbox.Receipts{{ID: 3, Changed: 4}}), "a receipt that says nothing")
}

func TestUnpackRefusesGarbage(t *testing.T) {
	t.Parallel()
	good := packReceipts(inbox.Receipts{
		{ID: 5, Changed: 2, Receipt: inbox.Receipt{SeenAt: time.UnixMicro(77).UTC()}},
		{ID: 6, Changed: 3, Receipt: inbox.Receipt{SeenAt: time.UnixMicro(78).UTC(), ReadAt: time.UnixMicro(79).UTC()}}})
	refused := func(what string, b []byte) {
		t.Helper()
		_, err := unpackReceipts(b)
		require.Error(t, err, what)
		require.Equal(t, fault.Internal, fault.KindOf(err), what)
	}
	for i := 1; i < len(good); i++ {
		refused("cut off", good[:i])
	}
	refused("something behind it", append(append([]byte{}, good...), 0))
	refused("a format of the future", append([]byte{2}, good[1:]...))
	refused("none", []byte{1, 0})
	refused("the same id twice", []byte{1, 2, 5, 2, 1, 2, 0, 2, 1, 2})
	refused("id zero", []byte{1, 1, 0, 2, 1, 2})
	refused("no time", []byte{1, 1, 5, 2, 0, 2})
	refused("an unknown time", []byte{1, 1, 5, 2, 64, 2})
	refused("a number that is longer than it has to be", []byte{1, 1, 0x85, 0, 2, 1, 2})
}

func FuzzUnpackReceipts(f *testing.F) {
	f.Add([]byte{})
	f.Add(packReceipts(inbox.Receipts{{ID: 5, Changed: 2, Receipt: inbox.Receipt{SeenAt: time.UnixMicro(77), UnreadAt: time.UnixMicro(1e15)}}}))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		receipts, err := unpackReceipts(b)
		if err != nil {
			return
		}
		if again := packReceipts(receipts); string(again) != string(b) {
			t.Fatalf("%x became %x", b, again)
		}
		for i, r := range receipts {
			if r.ID <= 0 || r.Changed < 0 || r.IsZero() || (i > 0 && receipts[i-1].ID >= r.ID) {
				t.Fatalf("receipt %d is %+v", i, r)
			}
		}
	})
}
