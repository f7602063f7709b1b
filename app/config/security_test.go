package config_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/app/config"
)

func TestSettingsOfSecurityAreChecked(t *testing.T) {
	t.Parallel()
	c := config.Load(map[string]string{"ACCORD_RATE_LIMIT_CUSTOMER": "0.5/3", "ACCORD_RATE_LIMIT_EVENTS": "off", "ACCORD_HSTS": "8760h",
		"ACCORD_CORS_ORIGINS": "https://shop.example,http://localhost:3000"})
	require.NoError(t, c.Validate())
	require.Equal(t, []config.RateLimit{{Rate: 0.5, Burst: 3}, {Rate: 20, Burst: 200}, {}}, []config.RateLimit{c.Security.RateCustomer, c.Security.RateChanges, c.Security.RateEvents})
	require.Equal(t, []any{365 * 24 * time.Hour, 2}, []any{c.Security.HSTS, len(c.Security.CORSOrigins)})
	for _, bad := range [][2]string{{"ACCORD_RATE_LIMIT_CUSTOMER", "100"}, {"ACCORD_RATE_LIMIT_CHANGES", "0/5"}, {"ACCORD_RATE_LIMIT_LINK", "1/0"},
		{"ACCORD_RATE_LIMIT_ADDRESS", "many"}, {"ACCORD_RATE_LIMIT_EVENTS", "NaN/1"}, {"ACCORD_RATE_LIMIT_CALLERS", "3"}, {"ACCORD_HSTS", "-1s"}, {"ACCORD_HSTS", "100ms"},
		{"ACCORD_CORS_ORIGINS", "*"}, {"ACCORD_CORS_ORIGINS", "https://shop.example/"}, {"ACCORD_CORS_ORIGINS", "shop.example"}, {"ACCORD_CORS_ORIGINS", "https://a@b"},
		{"ACCORD_GPC_WITHDRAWS", "email,order_updates"}, {"ACCORD_GPC_WITHDRAWS", "sms"}} {
		require.ErrorContains(t, config.Load(map[string]string{bad[0]: bad[1]}).Validate(), bad[0], bad[1])
	}
}
