package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDevelopmentSecretsOfWebhooksAreForTheDevelopmentStackAlone(t *testing.T) {
	t.Parallel()
	none, err := Load(nil).Webhooks.Sources()
	require.NoError(t, err)
	require.Empty(t, none, "without a secret there is no source")

	all, err := Load(nil).Webhooks.WithDevelopmentSecrets().Sources()
	require.NoError(t, err)
	require.Len(t, all, 5)

	cfg := Load(map[string]string{"ACCORD_WEBHOOK_SECRETS_BRAZE": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, " + DevelopmentSecrets()["braze"]})
	require.ErrorContains(t, cfg.Validate(NeedTokens), "ACCORD_WEBHOOK_SECRETS_BRAZE is the development stack's")
}

func TestSecretsOfWebhooksAreNamedWhenTheyAreWeak(t *testing.T) {
	t.Parallel()
	for setting, value := range map[string]string{"ACCORD_WEBHOOK_SECRETS_GENERIC": "whsec_c2hvcnQ=", "ACCORD_WEBHOOK_SHARED_SECRETS_BRAZE": "too-short-by-far"} {
		err := Load(map[string]string{setting: value}).Validate()
		require.ErrorContains(t, err, setting)
		require.NotContains(t, err.Error(), value)
	}
	sources, err := Load(map[string]string{"ACCORD_WEBHOOK_SHARED_SECRETS_BRAZE": "a-secret-that-is-long-enough , another-one-that-is-long-enough"}).Webhooks.Sources()
	require.NoError(t, err)
	require.Equal(t, []string{"a-secret-that-is-long-enough", "another-one-that-is-long-enough"}, sources["braze"].Shared)
}
