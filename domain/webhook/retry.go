package webhook

import "time"

// DisableAfter is how long an endpoint may fail without a single success.
const DisableAfter = 5 * 24 * time.Hour

// waits before each further attempt, as Standard Webhooks suggests. After the last one it is tried once a day.
var waits = []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour,
	20 * time.Hour, 24 * time.Hour}

// RetryIn is how long to wait after so many attempts, with up to a fifth on top by chance (0 to 1), so that what failed
// together does not come back together. A receiver that asks for more time gets it, up to a day.
func RetryIn(attempts int, asked time.Duration, chance float64) time.Duration {
	wait := waits[min(max(attempts, 1), len(waits))-1]
	wait = max(wait, min(asked, 24*time.Hour))
	return wait + time.Duration(chance*float64(wait)/5)
}
