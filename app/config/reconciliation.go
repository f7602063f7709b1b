package config

import "time"

// Reconciliation says how often customers are compared with what the CRM, the push provider and the consent platform hold.
type Reconciliation struct {
	// How often somebody looks who is due: those whose change has settled a minute and ten minutes ago, and the next of everybody.
	Every time.Duration `env:"ACCORD_RECONCILE_EVERY" envDefault:"30s"`
	// Everybody is compared once in this time.
	Window time.Duration `env:"ACCORD_RECONCILE_WINDOW" envDefault:"24h"`
	// Customers compared per second at most, over all processes; each takes about four calls to the vendors. It must be enough for everybody within the window.
	Rate float64 `env:"ACCORD_RECONCILE_RATE" envDefault:"20"`
	// A difference counts when it is still there after this long: what a vendor has accepted shows a little later.
	SecondLook time.Duration `env:"ACCORD_RECONCILE_SECOND_LOOK" envDefault:"2s"`
}

func (r Reconciliation) check(bad func(setting, format string, args ...any)) {
	if r.Every < time.Second {
		bad("ACCORD_RECONCILE_EVERY", "must be at least 1s, not %s", r.Every)
	}
	if r.Window < r.Every {
		bad("ACCORD_RECONCILE_WINDOW", "must be at least ACCORD_RECONCILE_EVERY, which is %s, not %s", r.Every, r.Window)
	}
	if r.Rate <= 0 {
		bad("ACCORD_RECONCILE_RATE", "must be more than zero, not %g", r.Rate)
	}
	if r.SecondLook < 0 {
		bad("ACCORD_RECONCILE_SECOND_LOOK", "must not be less than zero, not %s", r.SecondLook)
	}
}
