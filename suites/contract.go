package suites

// The public contract's label and annotations (behaviour specification, sections 1 to 7), of pods and service accounts.
const (
	UseLabel             = "azure.workload.identity/use"
	ClientIDAnnotation   = "azure.workload.identity/client-id"
	TenantIDAnnotation   = "azure.workload.identity/tenant-id"
	ExpirationAnnotation = "azure.workload.identity/service-account-token-expiration"
	SkipAnnotation       = "azure.workload.identity/skip-containers"
	ProxyAnnotation      = "azure.workload.identity/inject-proxy-sidecar"
	ProxyPortAnnotation  = "azure.workload.identity/proxy-sidecar-port"
)

// The containers of the proxy (section 7).
const (
	ProxyContainer     = "azwi-proxy"
	ProxyInitContainer = "azwi-proxy-init"
)

// The variables that the webhook injects (section 4).
const (
	ClientIDVariable      = "AZURE_CLIENT_ID"
	TenantIDVariable      = "AZURE_TENANT_ID"
	TokenFileVariable     = "AZURE_FEDERATED_TOKEN_FILE"
	AuthorityHostVariable = "AZURE_AUTHORITY_HOST"
)
