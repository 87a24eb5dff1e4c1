package controlplane

import (
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/shell"
)

// TestBoolean: what etcd takes for true is true here, however a chart writes it.
func TestBoolean(t *testing.T) {
	for value, want := range map[string]bool{
		"true": true, "True": true, "TRUE": true, "t": true, "T": true, "1": true,
		"false": false, "False": false, "0": false, "": false, "yes": false, "on": false,
	} {
		env := func(name string) (string, bool) { return value, name == "ETCD_CLIENT_CERT_AUTH" }
		if got := settingsOf(program.RawSettings(shell.Invocation{Argv: []string{"etcd"}}, env)).ClientCertAuth; got != want {
			t.Errorf("ETCD_CLIENT_CERT_AUTH=%q: %v, want %v", value, got, want)
		}
		if got := settingsOf(program.ParseFlags([]string{"--client-cert-auth=" + value})).ClientCertAuth; got != want {
			t.Errorf("--client-cert-auth=%q: %v, want %v", value, got, want)
		}
		file, err := program.ParseConfigFile("client-transport-security: {client-cert-auth: '"+value+"'}", "")
		if err != nil || settingsOf(file).ClientCertAuth != want {
			t.Errorf("client-cert-auth: %q in a file: %v, want %v (%v)", value, !want, want, err)
		}
	}
	if !settingsOf(program.ParseFlags([]string{"--client-cert-auth", "--name=a"})).ClientCertAuth {
		t.Error("--client-cert-auth alone is false")
	}
}
