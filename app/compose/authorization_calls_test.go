package compose

// call says how to build one operation of the contract, so that it would succeed for somebody who may. Names in braces are
// filled in; see the nouns below.
type call struct {
	target  string   // path and query
	body    string   // JSON, empty for none
	headers []string // "Name: value"
	ok      int      // the answer for whoever may; 0 for 200
	// perItem: what is foreign or unknown is told for each item, in an answer that is ok.
	perItem bool
	// ownName: the id in the path is made by the app and names something of the caller's own, whatever others call theirs.
	ownName bool
}

// Nouns that name something of one customer's. What is foreign must look like what does not exist.
var customersOwn = []string{"{customer}", "{device}", "{message}", "{operation}"}

const wantAsync = "Prefer: respond-async"

// calls has an entry for every operation in the contract. An operation without one fails the test.
var calls = map[string]call{
	"getPreferences":        {target: "/v1/preferences"},
	"getPushPreferences":    {target: "/v1/preferences/push"},
	"patchPushPreferences":  {target: "/v1/preferences/push", body: `{"enabled":false}`, headers: []string{wantAsync}, ok: 202},
	"getEmailPreferences":   {target: "/v1/preferences/email"},
	"patchEmailPreferences": {target: "/v1/preferences/email", body: `{"marketing":{"status":"unsubscribed"}}`, headers: []string{wantAsync}, ok: 202},
	"getOwnAudit":           {target: "/v1/preferences/audit?limit=1"},
	"getOwnAuditProof":      {target: "/v1/preferences/audit/proof"},
	"getOwnConsent":         {target: "/v1/preferences/consent"},
	"getCustomerAuditProof": {target: "/v1/customers/{customer}/audit/proof"},
	"getCustomerConsent":    {target: "/v1/customers/{customer}/consent"},
	"listCheckpoints":       {target: "/v1/audit/checkpoints"},
	"putDevice": {target: "/v1/devices/{device}", body: `{"platform":"ios","token":"{token}","permission":"denied"}`,
		headers: []string{wantAsync}, ok: 202, ownName: true},
	"patchDevice":  {target: "/v1/devices/{device}", body: `{"enabled":false}`, headers: []string{wantAsync}, ok: 202},
	"deleteDevice": {target: "/v1/devices/{device}", headers: []string{wantAsync}, ok: 202},
	// Links in e-mails belong to whoever has them.
	"createUnsubscribeLink":  {target: "/v1/customers/{customer}/unsubscribe-links"},
	"createConfirmationLink": {target: "/v1/customers/{pending}/confirmation-links"},
	"getUnsubscribePage":     {target: "/u/{unsubscribe}"},
	"postUnsubscribe":        {target: "/u/{unsubscribe}"},
	"getConfirmationPage":    {target: "/c/{confirm}"},
	"postConfirmation":       {target: "/c/{confirm}", ok: 400}, // nobody has pressed the button
	"getCustomerAudit":       {target: "/v1/customers/{customer}/audit"},
	"getDeliverability":      {target: "/v1/customers/{customer}/deliverability"},
	"eraseCustomer":          {target: "/v1/customers/{leaver}", headers: []string{wantAsync}, ok: 202},
	"getErasure":             {target: "/v1/erasures/{erasure}"},
	"exportCustomer":         {target: "/v1/customers/{customer}/export"},
	"requestReconciliation":  {target: "/v1/reconciliations", body: `{"customers":["{customer}"]}`, ok: 202},
	"listOperations":         {target: "/v1/operations?status=applied"},
	"getOperation":           {target: "/v1/operations/{operation}"},
	"retryOperation":         {target: "/v1/operations/{parked}/retry", ok: 202},
	"compensateOperation":    {target: "/v1/operations/{parked}/compensate", ok: 202},

	"getInbox":           {target: "/v1/inbox?limit=1"},
	"getInboxCounts":     {target: "/v1/inbox/counts"},
	"getInboxChanges":    {target: "/v1/inbox/changes?since={version}"},
	"refreshInbox":       {target: "/v1/inbox/refresh"},
	"acknowledgeMessage": {target: "/v1/inbox/messages/{message}/acknowledge", body: `{"state":"seen"}`},
	"acknowledgeInbox":   {target: "/v1/inbox/acknowledge", body: `{"items":[{"id":"{message}","state":"seen"}]}`, perItem: true},
	"mergeInbox":         {target: "/v1/inbox/merge", body: `{"installation_id":"{installation}"}`},
	"streamInbox":        {target: "/v1/inbox/stream"},
	"recordEvents": {target: "/v1/events", perItem: true,
		body: `{"events":[{"id":"{event}","type":"deeplink_converted","at":"{now}","message_id":"{message}"}]}`},

	"publishMessage": {target: "/v1/messages", ok: 201,
		body: `{"source":"shop","external_id":"{event}","audience":{"type":"customers","ids":["{customer}"]},"title":"t","category":"promotions"}`},
	"getMessage":     {target: "/v1/messages/{message}"},
	"patchMessage":   {target: "/v1/messages/{message}", body: `{"title":"{secret}"}`},
	"retractMessage": {target: "/v1/messages/{message}"},

	"listDeeplinkTargets":   {target: "/v1/deeplink-targets"},
	"getDeeplinkTarget":     {target: "/v1/deeplink-targets/{link}"},
	"putDeeplinkTarget":     {target: "/v1/deeplink-targets/{link}", body: `{"pattern":"app://{link}","active":true}`},
	"deleteDeeplinkTarget":  {target: "/v1/deeplink-targets/{link}", ok: 204},
	"getEngagement":         {target: "/v1/metrics/engagement"},
	"listWebhookEndpoints":  {target: "/v1/webhook-endpoints"},
	"createWebhookEndpoint": {target: "/v1/webhook-endpoints", body: `{"url":"https://receiver.example.org/{event}"}`, ok: 201},
	"getWebhookEndpoint":    {target: "/v1/webhook-endpoints/{event}", ok: 404},
	"patchWebhookEndpoint":  {target: "/v1/webhook-endpoints/{event}", body: `{"enabled":false}`, ok: 404},
	"deleteWebhookEndpoint": {target: "/v1/webhook-endpoints/{event}", ok: 204},
	"rotateWebhookSecret":   {target: "/v1/webhook-endpoints/{event}/rotate-secret", ok: 404},
	"pingWebhookEndpoint":   {target: "/v1/webhook-endpoints/{event}/ping", ok: 404},
	"replayWebhookEndpoint": {target: "/v1/webhook-endpoints/{event}/replay", body: `{"from":"{now}"}`, ok: 404},
	"listWebhookDeliveries": {target: "/v1/webhook-endpoints/{event}/deliveries", ok: 404},
	"receiveWebhook":        {target: "/v1/webhooks/{event}", body: `{}`, ok: 404}, // without a secret no source is there

	"getHealth":    {target: "/healthz"},
	"getReadiness": {target: "/readyz"},
	"getMetrics":   {target: "/metrics"},
	"getContract":  {target: "/openapi.yaml"},
}
