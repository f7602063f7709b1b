package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"accord/domain/preference"
)

// Security says how often who may call, and what browsers are told.
type Security struct {
	// How often a signed-in customer may call, as calls per second / calls at once; off for no limit.
	RateCustomer RateLimit `env:"ACCORD_RATE_LIMIT_CUSTOMER" envDefault:"100/500"`
	// The same for a customer's changes of preferences. A withdrawal is slowed down and never refused.
	RateChanges RateLimit `env:"ACCORD_RATE_LIMIT_CHANGES" envDefault:"20/200"`
	// The same for batches of events, of each customer, and of each address for those who are not signed in.
	RateEvents RateLimit `env:"ACCORD_RATE_LIMIT_EVENTS" envDefault:"20/200"`
	// The same for each address from which somebody calls who is not signed in; networks of mobile carriers have thousands behind one.
	RateAddress RateLimit `env:"ACCORD_RATE_LIMIT_ADDRESS" envDefault:"1000/3000"`
	// The same for each link in an e-mail, whoever opens it.
	RateLink RateLimit `env:"ACCORD_RATE_LIMIT_LINK" envDefault:"2/20"`
	// Callers of each kind whose limits a process remembers; whoever was not seen for longest is forgotten.
	RateCallers int `env:"ACCORD_RATE_LIMIT_CALLERS" envDefault:"100000"`
	// Web apps that may call from a browser, as origins separated by commas: https://shop.example; empty for none.
	CORSOrigins []string `env:"ACCORD_CORS_ORIGINS"`
	// How long browsers shall insist on https (Strict-Transport-Security), where everybody reaches the API by it; 0s for not saying so.
	HSTS time.Duration `env:"ACCORD_HSTS" envDefault:"0s"`
	// What is withdrawn when the browser of a signed-in customer sends Global Privacy Control (Sec-GPC: 1): email, and
	// channels by their keys, separated by commas; empty for not looking at it.
	GPCWithdraws []string `env:"ACCORD_GPC_WITHDRAWS"`
}

// RateLimit is written as calls per second / calls at once; off, and zero, for no limit.
type RateLimit struct {
	Rate  float64
	Burst int
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *RateLimit) UnmarshalText(text []byte) error {
	if *r = (RateLimit{}); string(text) == "off" {
		return nil
	}
	every, atOnce, found := strings.Cut(string(text), "/")
	rate, err1 := strconv.ParseFloat(every, 64)
	burst, err2 := strconv.Atoi(atOnce)
	if !found || err1 != nil || err2 != nil || !(rate > 0 && rate <= 1e6) || burst < 1 || burst > 1e7 {
		return fmt.Errorf("%q must be off, or calls per second / calls at once, such as 20/200", text)
	}
	*r = RateLimit{Rate: rate, Burst: burst}
	return nil
}

// GPC is what is withdrawn for Global Privacy Control.
func (c Config) GPC() (email bool, channels []preference.ChannelKey, err error) {
	catalogue, err := c.Catalogue()
	if err != nil {
		return false, nil, err
	}
	for _, name := range c.Security.GPCWithdraws {
		channel, known := catalogue.Channel(preference.ChannelKey(name))
		switch {
		case name == "email":
			email = true
		case !known || channel.Required:
			return false, nil, fmt.Errorf("has %q, which is neither email nor a channel that can be switched off", name)
		default:
			channels = append(channels, channel.Key)
		}
	}
	return email, channels, nil
}

func (s Security) check(bad func(setting, format string, args ...any)) {
	if s.RateCallers < 64 {
		bad("ACCORD_RATE_LIMIT_CALLERS", "must be at least 64, not %d", s.RateCallers)
	}
	if s.HSTS < 0 || s.HSTS%time.Second != 0 {
		bad("ACCORD_HSTS", "must be whole seconds, not %s", s.HSTS)
	}
	for _, origin := range s.CORSOrigins {
		u, err := url.Parse(origin)
		if err != nil || !slices.Contains([]string{"http", "https"}, u.Scheme) || u.Host == "" || origin != u.Scheme+"://"+u.Host {
			bad("ACCORD_CORS_ORIGINS", "has %q, which is no origin such as https://shop.example", origin)
		}
	}
}
