package rights_test

import (
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"accord/app/rights"
	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/mocks"
)

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

type rig struct {
	*rights.Service
	preferences *mocks.MockPreferences
	operators   *mocks.MockOperators
	ledger      *mocks.MockLedger
	inbox       *mocks.MockInbox
	data        *mocks.MockPersonalData
	erasures    *mocks.MockErasures
}

func newRig(t *testing.T) rig {
	t.Helper()
	ctrl := gomock.NewController(t)
	r := rig{preferences: mocks.NewMockPreferences(ctrl), operators: mocks.NewMockOperators(ctrl), ledger: mocks.NewMockLedger(ctrl),
		inbox: mocks.NewMockInbox(ctrl), data: mocks.NewMockPersonalData(ctrl), erasures: mocks.NewMockErasures(ctrl)}
	r.Service = rights.New(rights.Config{Preferences: r.preferences, Operators: r.operators, Ledger: r.ledger, Inbox: r.inbox, Data: r.data,
		Erasures: r.erasures, Now: func() time.Time { return now }})
	return r
}

var gone = fault.New(fault.NotFound, "not-found", "no such operation")

func TestErasingAnswersTheProofOnceItIsDone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	op := preference.Operation{ID: "op", Status: preference.Applied, Change: preference.Erase()}
	r.preferences.EXPECT().Change(gomock.Any(), gomock.Any()).DoAndReturn(func(_ any, c ports.ChangeCommand) (ports.ChangeResult, error) {
		require.True(t, c.Change.Erases())
		require.Equal(t, preference.CustomerID("ada"), c.Customer)
		return ports.ChangeResult{Operation: op}, nil
	})
	r.operators.EXPECT().Find(gomock.Any(), "op").Return(ports.OperationState{}, gone)
	r.erasures.EXPECT().Erasure(gomock.Any(), "op").Return(ports.ErasureProof{Operation: "op", Chain: "ch_1"}, nil)
	state, err := r.Erase(t.Context(), ports.ChangeCommand{Customer: "ada"})
	require.NoError(t, err)
	require.Equal(t, "ch_1", state.Proof.Chain)
}

func TestErasingThatIsUnderWay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	op := preference.Operation{ID: "op", Status: preference.Running, Change: preference.Erase()}
	r.preferences.EXPECT().Change(gomock.Any(), gomock.Any()).Return(ports.ChangeResult{Operation: op}, nil)
	state, err := r.Erase(t.Context(), ports.ChangeCommand{Customer: "ada"})
	require.NoError(t, err)
	require.Nil(t, state.Proof)
	require.Equal(t, preference.Running, state.Operation.Status)
}

func TestOnlyAnErasureIsOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.operators.EXPECT().Find(gomock.Any(), "op").Return(ports.OperationState{Operation: preference.Operation{ID: "op"}}, nil)
	_, err := r.Erasure(t.Context(), "op")
	require.ErrorIs(t, err, fault.New(fault.NotFound, "not-found", ""))
	r.operators.EXPECT().Find(gomock.Any(), "op-9").Return(ports.OperationState{}, gone)
	r.erasures.EXPECT().Erasure(gomock.Any(), "op-9").Return(ports.ErasureProof{}, gone)
	_, err = r.Erasure(t.Context(), "op-9")
	require.ErrorIs(t, err, gone)
}

// Everything is read to its end, page by page.
func TestAnExportHasEverything(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cat, err := preference.NewCatalogue("", preference.Channel{Key: "news"})
	require.NoError(t, err)
	r.preferences.EXPECT().View(gomock.Any(), preference.CustomerID("ada")).Return(ports.PreferenceView{Preferences: preference.Defaults("ada", cat)}, nil)
	const many = 230
	r.data.EXPECT().OperationsOf(gomock.Any(), gomock.Any(), gomock.Any(), gomock.Any()).Times(3).DoAndReturn(
		func(_ any, _ preference.CustomerID, after int64, limit int) (out []ports.OperationState, _ error) {
			for n := after + 1; n <= many && len(out) < limit; n++ {
				out = append(out, ports.OperationState{Operation: preference.Operation{Number: n}})
			}
			return out, nil
		})
	r.ledger.EXPECT().Entries(gomock.Any(), gomock.Any(), gomock.Any(), gomock.Any()).Times(3).DoAndReturn(
		func(_ any, _ preference.CustomerID, below int64, limit int) (out []consent.Line, _ error) {
			if below == 0 {
				below = many + 1
			}
			for seq := below - 1; seq > 0 && len(out) < limit; seq-- {
				out = append(out, consent.Line{Link: consent.Link{Seq: seq}})
			}
			return out, nil
		})
	r.inbox.EXPECT().Feed(gomock.Any(), gomock.Any()).Times(4).DoAndReturn(func(_ any, q ports.FeedQuery) (ports.FeedPage, error) {
		require.Equal(t, inbox.CustomerViewer("ada"), q.Viewer)
		if q.Cursor == "" {
			return ports.FeedPage{Messages: make([]ports.FeedEntry, q.Limit), Next: "more"}, nil
		}
		return ports.FeedPage{Messages: make([]ports.FeedEntry, 1)}, nil
	})
	r.data.EXPECT().ActivityOf(gomock.Any(), inbox.CustomerViewer("ada")).Return([]ports.ClientActivity{{Kind: "client_event"}}, nil)

	e, err := r.Export(t.Context(), "ada")
	require.NoError(t, err)
	require.Len(t, e.Operations, many)
	require.Len(t, e.Ledger, many)
	for i := range many {
		require.EqualValues(t, i+1, e.Operations[i].Number)
		require.EqualValues(t, i+1, e.Ledger[i].Seq)
	}
	require.Len(t, e.Messages, 202)
	require.Len(t, e.Activity, 1)
	require.Equal(t, now, e.At)
	require.Equal(t, preference.Off, e.Recipients[preference.CRM].State(preference.Item{Kind: preference.ChannelItem, Key: "news"}))
}
