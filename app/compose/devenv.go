package compose

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"accord/adapters/auth"
	"accord/app/config"
)

// devEnvFile keeps the settings under which another process joins the development stack that runs.
const devEnvFile = "dev.env"

// writeEnv lets a person run any other command, or a second API or worker, against the stack: `. .accord/dev.env`. It
// holds the database's password and keys and is for its owner alone.
func (d *dev) writeEnv(api net.Listener) error {
	lines := append([][2]string{
		{"ACCORD_DATABASE_URL", d.cfg.DatabaseURL.Reveal()},
		{"ACCORD_TEMPORAL_ADDRESS", d.cfg.TemporalAddress},
		{"ACCORD_TEMPORAL_NAMESPACE", d.cfg.TemporalNamespace},
		{"ACCORD_TEMPORAL_UI_URL", d.cfg.TemporalUI},
		{"ACCORD_TEMPORAL_KEYS", d.cfg.TemporalKeys.Reveal()},
		{"ACCORD_LEDGER_KEYS", d.cfg.LedgerKeys.Reveal()},
		{"ACCORD_CHECKPOINT_KEY", d.cfg.CheckpointKey.Reveal()},
		{"ACCORD_CHECKPOINT_DIR", d.cfg.CheckpointDir},
		{"ACCORD_JWT_JWKS_URL", "http://" + api.Addr().String() + "/dev/jwks.json"},
		{"ACCORD_JWT_ISSUER", auth.DevIssuerName},
		{"ACCORD_JWT_AUDIENCE", auth.DevAudience},
		{"ACCORD_PUBLIC_URL", d.cfg.Email.PublicURL},
		{"ACCORD_LINK_KEYS", d.cfg.Email.LinkKeys.Reveal()},
		{"ACCORD_EMAIL_TOPICS", strings.Join(d.cfg.Email.Topics, ",")},
		{"ACCORD_EMAIL_DOUBLE_OPT_IN", strconv.FormatBool(d.cfg.Email.DoubleOptIn)},
		{"ACCORD_EMAIL_CONFIRMATION_TTL", d.cfg.Email.ConfirmationTTL.String()},
	}, vendorEnv(d.cfg)...)
	return os.WriteFile(filepath.Join(d.cfg.StateDir, devEnvFile), []byte(exports(lines)), 0o600)
}

// joinDev fills in what a command needs to look at the development stack's database, where no other is set and one ever
// ran on this state.
func joinDev(cfg config.Config) config.Config {
	raw, err := os.ReadFile(filepath.Join(cfg.StateDir, devEnvFile))
	if cfg.DatabaseURL != "" || err != nil {
		return cfg
	}
	for name, field := range map[string]*config.Secret{"ACCORD_DATABASE_URL": &cfg.DatabaseURL, "ACCORD_LEDGER_KEYS": &cfg.LedgerKeys,
		"ACCORD_CHECKPOINT_KEY": &cfg.CheckpointKey} {
		_, rest, found := strings.Cut(string(raw), "export "+name+"='")
		value, _, closed := strings.Cut(rest, "'")
		if found && closed && *field == "" {
			*field = config.Secret(value)
		}
	}
	return cfg
}

// SandboxEnv prints the settings that point the API and a worker at a sandbox, for a shell to read.
func SandboxEnv(cfg config.Config) string {
	lines := vendorEnv(WithSandboxVendors(config.Config{SandboxAddr: cfg.SandboxAddr}))
	return exports(slices.DeleteFunc(lines, func(l [2]string) bool { return l[1] == "" })) // such as topics, of which there are none
}

func vendorEnv(cfg config.Config) [][2]string {
	v := cfg.Vendors
	return [][2]string{
		{"ACCORD_BRAZE_URL", v.BrazeURL}, {"ACCORD_BRAZE_API_KEY", v.BrazeAPIKey.Reveal()}, {"ACCORD_BRAZE_GROUPS", pairs(v.BrazeGroups)},
		{"ACCORD_BRAZE_TOPICS", pairs(v.BrazeTopics)},
		{"ACCORD_ONESIGNAL_URL", v.OneSignalURL}, {"ACCORD_ONESIGNAL_APP_ID", v.OneSignalAppID}, {"ACCORD_ONESIGNAL_API_KEY", v.OneSignalAPIKey.Reveal()},
		{"ACCORD_ONETRUST_URL", v.OneTrustURL}, {"ACCORD_ONETRUST_CLIENT_ID", v.OneTrustClientID},
		{"ACCORD_ONETRUST_CLIENT_SECRET", v.OneTrustClientSecret.Reveal()},
		{"ACCORD_ONETRUST_REQUEST_INFORMATION", v.OneTrustRequestInformation.Reveal()}, {"ACCORD_ONETRUST_PURPOSES", pairs(v.OneTrustPurposes)},
		{"ACCORD_CAMPAIGN_FEED_URL", v.CampaignFeedURL}, {"ACCORD_CAMPAIGN_FEED_KEY", v.CampaignFeedKey.Reveal()},
		{"ACCORD_ITERABLE_URL", v.IterableURL}, {"ACCORD_ITERABLE_API_KEY", v.IterableAPIKey.Reveal()},
	}
}

func pairs(m map[string]string) string {
	out := make([]string, 0, len(m))
	for k, id := range m {
		out = append(out, k+"="+id)
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// exports quotes for a POSIX shell.
func exports(lines [][2]string) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "export %s='%s'\n", l[0], strings.ReplaceAll(l[1], "'", `'\''`))
	}
	return b.String()
}
