package checker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What the comparison mends was broken, unless somebody has decided elsewhere, or a token is on its way to somebody else.
func TestWhatHadToBeMendedIsSeen(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		rule  string
		story func(*testing.T, *story)
	}{
		"mended": {RuleDrift, func(*testing.T, *story) {}},
		"not for a drift": {"", func(_ *testing.T, s *story) {
			s.edit("ada", 8, func(e map[string]any) { e["cause"] = "superseded_decision" })
		}},
		"after what was left as it was elsewhere": {"", func(_ *testing.T, s *story) {
			s.edit("ada", 9, func(e map[string]any) { e["not_undone"] = []string{"crm:email"} })
		}},
		"after a token has moved": {"", func(_ *testing.T, s *story) {
			s.edit("ada", 8, func(e map[string]any) { e["origin"] = map[string]any{"source": "token_move"} })
		}},
		"a token that is passed around": {"", func(_ *testing.T, s *story) {
			s.standing("grace")
			s.call("grace", "PUT", "/v1/devices/phone", `{"platform":"ios","token":"t","permission":"granted"}`, 0, "")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := phoneAndNews(t)
			s.entry("ada", "requested", "op-ada-5", 5, "grant", nil, 4, "")
			s.entry("ada", "compensated", "op-ada-5", 5, "grant", nil, 4, "budget-exhausted")
			for i := 8; i < 10; i++ {
				s.edit("ada", i, func(e map[string]any) { e["origin"], e["cause"] = map[string]any{"source": "reconciliation"}, "drift" })
			}
			tc.story(t, s)
			r := s.judged()
			if tc.rule == "" {
				require.NotContains(t, r.broken(), RuleDrift, r.Told(nil))
			} else {
				require.Equal(t, []string{tc.rule}, r.broken(), r.Told(nil))
				require.Equal(t, 1, r.Checked[tc.rule])
			}
		})
	}
}
