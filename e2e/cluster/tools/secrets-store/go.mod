module mcp-connectors.io/e2e/tools/secrets-store

go 1.26

require (
	google.golang.org/grpc v1.79.3
	k8s.io/klog/v2 v2.120.1
	k8s.io/kubelet v0.30.1
	sigs.k8s.io/secrets-store-csi-driver v1.6.0
)

require (
	github.com/gogo/protobuf v1.3.2 // indirect
	golang.org/x/net v0.48.0 // indirect
	golang.org/x/sys v0.42.0 // indirect
	golang.org/x/text v0.32.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20251202230838-ff82c1b0f217 // indirect
	google.golang.org/protobuf v1.36.10 // indirect
)

replace monis.app/mlog => ./mlog
