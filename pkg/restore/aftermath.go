package restore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/keyutil"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// What of a snapshot can be in the way of the cluster that is restored from it. None of it is changed: it is named, with the
// command that mends it.

// aftermath tells what will be in the way.
func (sc *Scene) aftermath(ctx context.Context, c controlplane.Client, p controlplane.ControlPlane, r *verify.Report) []string {
	return slices.Concat(sc.unreadable(ctx, c, r), sc.probed(p, r), webhooks(r), sc.voidTokens(ctx, c, r), deadAddresses(p, r))
}

// keysOf are those of what was kept whose key has that part, sorted, without what is before it.
func keysOf(r *verify.Report, part string) (keys []string) {
	for _, key := range slices.Sorted(maps.Keys(r.Kept)) {
		if strings.Contains(key, part) {
			keys = append(keys, key)
		}
	}
	return keys
}

// behind is what follows that part of a key: an object's name, or its namespace and name.
func behind(key, part string) string {
	_, name, _ := strings.Cut(key, part)
	return name
}

// message is what the API's kinds are stored as.
type message interface{ Unmarshal([]byte) error }

// readStored reads an object as an API server stores it; false where it is encrypted, or something else.
func readStored(value []byte, into message) bool {
	if b, ok := bytes.CutPrefix(value, []byte("k8s\x00")); ok {
		var u runtime.Unknown
		return u.Unmarshal(b) == nil && into.Unmarshal(u.Raw) == nil
	}
	return json.Unmarshal(value, into) == nil
}

// most is how many of a kind are named one by one.
const most = 5

// Several names some, and says how many more there are.
func Several(names []string) string {
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// webhooks names those that let nothing pass while they are not served, and are served by the restored cluster itself. Pods of
// theirs that are not as the snapshot has them may have to be made by leave of the very webhook.
func webhooks(r *verify.Report) (notes []string) {
	var rest []string
	for _, part := range slices.Sorted(maps.Keys(webhookKinds)) {
		for _, key := range keysOf(r, part) {
			services, patch := failClosed(r.Kept[key].Value, part)
			if len(services) == 0 {
				continue
			}
			kind, name := webhookKinds[part], behind(key, part)
			if len(notes) == most {
				rest = append(rest, kind+" "+name)
				continue
			}
			notes = append(notes, fmt.Sprintf("%s %s refuses what it cannot check (failurePolicy: Fail), and the restored cluster serves it itself (%s): if its pods do not come back, let all pass meanwhile, there: kubectl patch %s %s --type=json -p '%s'",
				kind, name, Several(services), strings.ToLower(kind), name, patch))
		}
	}
	if len(rest) > 0 {
		notes = append(notes, "the same is so of "+strings.Join(rest, ", "))
	}
	return notes
}

// failClosed are the Services of a configuration's webhooks that fail closed, and the patch that opens them.
func failClosed(value []byte, part string) (services []string, patch string) {
	var hooks []admissionv1.ValidatingWebhook // of either kind: what is looked at is called the same
	if part == "/validatingwebhookconfigurations/" {
		var c admissionv1.ValidatingWebhookConfiguration
		if readStored(value, &c) {
			hooks = c.Webhooks
		}
	} else {
		var c admissionv1.MutatingWebhookConfiguration
		if readStored(value, &c) {
			for _, h := range c.Webhooks {
				hooks = append(hooks, admissionv1.ValidatingWebhook{Name: h.Name, ClientConfig: h.ClientConfig, FailurePolicy: h.FailurePolicy})
			}
		}
	}
	var ops []string
	for i, h := range hooks {
		if s := h.ClientConfig.Service; s != nil && (h.FailurePolicy == nil || *h.FailurePolicy == admissionv1.Fail) {
			if name := "Service " + s.Namespace + "/" + s.Name; !slices.Contains(services, name) {
				services = append(services, name)
			}
			ops = append(ops, fmt.Sprintf(`{"op":"replace","path":"/webhooks/%d/failurePolicy","value":"Ignore"}`, i))
		}
	}
	return services, "[" + strings.Join(ops, ",") + "]"
}

// voidTokens names the tokens in Secrets that were signed by a key which the API servers do not have any more. Where one of their
// keys is not known, nothing can be said.
func (sc *Scene) voidTokens(ctx context.Context, c controlplane.Client, r *verify.Report) []string {
	signed := map[string][]string{} // by the key's id
	for _, key := range keysOf(r, storedSecrets) {
		var s corev1.Secret
		if !readStored(r.Kept[key].Value, &s) || s.Type != tokenType {
			continue
		}
		if id := keyID(s.Data[corev1.ServiceAccountTokenKey]); id != "" {
			signed[id] = append(signed[id], s.Namespace+"/"+s.Name)
		}
	}
	if len(signed) == 0 {
		return nil
	}
	known, all := sc.accountKeys(ctx, c)
	if !all {
		return nil
	}
	var notes []string
	for _, id := range slices.Sorted(maps.Keys(signed)) {
		if slices.Contains(known, id) {
			continue
		}
		secrets := signed[id]
		ns, name, _ := strings.Cut(secrets[0], "/")
		notes = append(notes, fmt.Sprintf("%d tokens of service accounts in the snapshot are signed by a key that no API server has any more (%s), and will be void: Secrets %s; have each made anew, in the restored cluster: kubectl patch -n %s secret %s --type=json -p '[{\"op\":\"remove\",\"path\":\"/data/token\"}]'",
			len(secrets), id, Several(secrets), ns, name))
	}
	return notes
}

// keyID is the id of the key that has signed a token; "" where it does not say.
func keyID(token []byte) string {
	head, _, ok := bytes.Cut(token, []byte("."))
	if !ok {
		return ""
	}
	b, err := base64.RawURLEncoding.DecodeString(string(head))
	var h struct {
		KeyID string `json:"kid"`
	}
	if err != nil || json.Unmarshal(b, &h) != nil {
		return ""
	}
	return h.KeyID
}

// accountKeys are the ids of the keys by which the API servers know service accounts' tokens; false where they are not all known.
func (sc *Scene) accountKeys(ctx context.Context, c controlplane.Client) (ids []string, all bool) {
	for _, w := range sc.Writers {
		if _, ok := w.APIServerPort(); !ok {
			continue
		}
		files, unread := w.Files(ctx, c, "service-account-key-file")
		if len(files) == 0 || len(unread) > 0 {
			return nil, false
		}
		all = true
		for _, text := range files {
			keys, err := keyutil.ParsePublicKeysPEM([]byte(text))
			if err != nil {
				return nil, false
			}
			for _, k := range keys {
				der, err := x509.MarshalPKIXPublicKey(k)
				if err != nil {
					return nil, false
				}
				sum := sha256.Sum256(der)
				ids = append(ids, base64.RawURLEncoding.EncodeToString(sum[:]))
			}
		}
	}
	return ids, all
}

// deadAddresses names API servers that nothing will ever take off the list of those that serve: what is bound to a lease goes
// within seconds when nobody renews it.
func deadAddresses(p controlplane.ControlPlane, r *verify.Report) []string {
	var keys, addresses []string
	for _, key := range keysOf(r, masterLeases) {
		if !r.Kept[key].Leased {
			keys, addresses = append(keys, key), append(addresses, behind(key, masterLeases))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("in the snapshot, %d addresses of API servers have lost their lease (masterleases), and will stay in endpoints/kubernetes for ever, also where none is: %s; afterwards, delete each that is dead: %s del %s",
		len(keys), Several(addresses), etcdctl(p), keys[0])}
}

// etcdctl is how a person calls it in a member's pod.
func etcdctl(p controlplane.ControlPlane) string {
	m := p.Members[0]
	words := []string{"kubectl exec -n", p.Namespace, m.PodName, "-c", m.Container, "-- etcdctl --endpoints=" + m.Endpoint}
	for _, f := range []struct{ flag, file string }{{"--cacert=", m.ClientTLS.CA}, {"--cert=", m.ClientTLS.Cert}, {"--key=", m.ClientTLS.Key}} {
		if f.file != "" {
			words = append(words, f.flag+f.file)
		}
	}
	return strings.Join(words, " ")
}
