// What the Secrets Store CSI driver has beside it on a node: a registrar, which tells the kubelet of the driver, and a
// provider, which gets secrets out of a store. This store is a folder of the node: a SecretProviderClass names one in it.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
	"sigs.k8s.io/secrets-store-csi-driver/provider/v1alpha1"
)

const (
	driverName = "secrets-store.csi.k8s.io"
	fileMode   = 0o444
)

func main() {
	driver := flag.String("driver", "", "the driver's socket")
	registrarSocket := flag.String("registrar", "", "the socket on which the kubelet asks about the driver")
	providerSocket := flag.String("provider", "", "the socket on which the driver asks for secrets")
	store := flag.String("store", "", "the folder with a folder for each SecretProviderClass")
	flag.Parse()

	provider := grpc.NewServer()
	v1alpha1.RegisterCSIDriverProviderServer(provider, folderProvider{store: *store})
	registrar := grpc.NewServer()
	registration.RegisterRegistrationServer(registrar, driverRegistrar{driver: *driver})
	failed := make(chan error)
	go func() { failed <- serve(provider, *providerSocket) }()
	go func() { failed <- serve(registrar, *registrarSocket) }()
	log.Fatal(<-failed)
}

func serve(server *grpc.Server, socket string) error {
	// One that was killed leaves its socket behind.
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	return server.Serve(listener)
}

// driverRegistrar answers what the kubelet asks of whoever puts a socket into its folder for plugins.
type driverRegistrar struct{ driver string }

func (r driverRegistrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              driverName,
		Endpoint:          r.driver,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (r driverRegistrar) NotifyRegistrationStatus(
	_ context.Context, status *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	if !status.PluginRegistered {
		log.Printf("the kubelet doesn't take the driver: %s", status.Error)
	}
	return &registration.RegistrationStatusResponse{}, nil
}

// folderProvider gives the files of a folder.
type folderProvider struct {
	v1alpha1.UnimplementedCSIDriverProviderServer
	store string
}

func (folderProvider) Version(context.Context, *v1alpha1.VersionRequest) (*v1alpha1.VersionResponse, error) {
	return &v1alpha1.VersionResponse{Version: "v1alpha1", RuntimeName: "folder", RuntimeVersion: "1.0.0"}, nil
}

func (p folderProvider) Mount(_ context.Context, request *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
	var attributes struct {
		Folder string `json:"folder"`
	}
	if err := json.Unmarshal([]byte(request.GetAttributes()), &attributes); err != nil {
		return nil, fmt.Errorf("the attributes can't be read: %w", err)
	}
	folder := filepath.Join(p.store, filepath.Base(attributes.Folder))
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	response := &v1alpha1.MountResponse{}
	for _, entry := range entries {
		contents, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, err
		}
		version := sha256.Sum256(contents)
		response.ObjectVersion = append(response.ObjectVersion, &v1alpha1.ObjectVersion{
			Id: entry.Name(), Version: hex.EncodeToString(version[:4]),
		})
		response.Files = append(response.Files, &v1alpha1.File{Path: entry.Name(), Mode: fileMode, Contents: contents})
	}
	return response, nil
}
