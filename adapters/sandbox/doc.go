// Package sandbox emulates the public HTTP APIs of the vendors Accord talks to — Braze (crm), OneSignal (push),
// OneTrust (cmp), Iterable and a neutral campaign feed (engagement) — so that the real adapters run unchanged against a local
// address or against the vendor itself. The emulators keep the vendors' quirks: writes that are answered before
// they are applied, a CRM that subscribes a new profile unasked, a consent API that drops bad values silently.
//
// # Base addresses
//
//	{sandbox}/braze       POST /users/track, /users/export/ids, /users/delete, /v2/subscription/status/set,
//	                      GET /subscription/status/get, /subscription/user/status
//	{sandbox}/onesignal   the user and subscription calls under /apps/{app_id}/…
//	{sandbox}/onetrust    POST /request/v1/consentreceipts, POST /api/access/v1/oauth/token,
//	                      GET /api/consentmanager/v1/datasubjects/profiles
//	{sandbox}/iterable    GET /api/inApp/getMessages, /api/embedded-messaging/messages; the calls for apps alone answer 403
//	{sandbox}/engagement  GET /messages?cursor=&updated_since=&limit=, as docs/campaign-feed.md has it
//	{sandbox}/_sandbox/…  the control calls (customers, faults, requests, messages); {sandbox}/healthz
//
// A customer is a Braze external_id, a OneSignal alias with the label external_id, a OneTrust identifier and an Iterable
// userId.
// Braze profiles are addressed by external_id when they are written; e-mail-only and alias-only profiles are not
// emulated.
//
// # Messages
//
//	POST /_sandbox/messages          makes a campaign message: the body is that of POST /v1/messages, source and
//	                                 external_id are optional, and no rule of ours is applied to the rest. The same
//	                                 names again change it; the audience's type stays (else 409 audience-changed)
//	DELETE /_sandbox/messages/{id}   retracts it; id is the sandbox's own, from the answer to POST
//
// A global message is in the neutral feed and only there. One to customers is in Iterable and only there: as an in-app
// message, or as an embedded one when it has actions, for each customer it names, from publish_at until it expires or is
// retracted. What Iterable has no place for is in its payload, in the words of POST /v1/messages. Both platforms are the
// target engagement, for faults and in the log of calls; only Iterable's calls are about a customer.
//
// # Accepted is not applied
//
// Config.ApplyDelay lies between the answer to an asynchronous write (all of Braze, OneTrust's receipts, OneSignal's
// 202s) and the moment reads show it. Waiting writes of one customer are applied in the order they were
// accepted. A synchronous write to the same customer, a control call that sets state included, applies what waits for
// that customer first. Waiting writes are applied when somebody looks, so the sandbox owns no goroutine or timer.
//
// # Faults
//
// A fault is matched after the call was logged and before authentication, rate limits and effect. The oldest
// fault that matches and has times left is used. The kinds:
//
//	delay           waits delay_ms, then goes on as usual, also when the client gave up meanwhile
//	timeout_before  no effect; holds the call until the client gives up (or delay_ms, or Config.MaxHold), then 504
//	timeout_after   the effect happens, then the call is held in the same way
//	drop_after      the effect happens, then the connection is cut without an answer
//	status          no effect; answers status and headers
//	malformed       the effect happens, then 200 with JSON that cannot be parsed
//
// OAuth token calls are never hit by a fault. Removing the faults releases the calls they hold.
//
// # What survives what
//
// With Config.StatePath every accepted write, also one not yet applied, is in a journal before it is answered and
// survives kill -9 of the process; the journal is not synced to the disk on each write, so the loss of the whole
// machine may cost the last moments. Faults, request log and rate-limit windows live in memory only.
package sandbox
