package seal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"
)

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sshKey is a new one, with its passphrase if it has one.
func sshKey(t *testing.T, phrase string) (public, private string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if phrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(phrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p))) + " somebody@somewhere", file(t, string(pem.EncodeToMemory(block)))
}

// TestKeys: whoever it is for can read it, nobody else, and nothing that was cut or changed.
func TestKeys(t *testing.T) {
	t.Parallel()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	plainSSH, plainKey := sshKey(t, "")
	lockedSSH, lockedKey := sshKey(t, "secret")
	r, err := To([]string{id.Recipient().String(), "@" + file(t, "# team\n"+plainSSH+"\n\n"+lockedSSH+"\n")})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Names) != 3 || strings.Contains(strings.Join(r.Names, " "), "somebody") {
		t.Errorf("names: %q", r.Names)
	}
	data := bytes.Repeat([]byte("etcd"), 100_000)
	sealed := seal(t, r, data)
	ask := func(string) ([]byte, error) { return []byte("secret"), nil }
	for name, key := range map[string]string{"age": file(t, id.String()), "ssh": plainKey, "ssh with a passphrase": lockedKey} {
		ids, err := From([]string{key}, ask)
		if err != nil {
			t.Fatal(name, err)
		}
		if got, err := open(ids, sealed); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if _, err := open(ids, sealed[:len(sealed)-1]); err == nil {
			t.Errorf("%s: one that was cut is read", name)
		}
		changed := bytes.Clone(sealed)
		changed[len(changed)/2] ^= 1
		if _, err := open(ids, changed); err == nil {
			t.Errorf("%s: one that was changed is read", name)
		}
	}
	ids, err := From([]string{file(t, other.String())}, ask)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(ids, sealed); !errors.Is(err, ErrIdentity) {
		t.Errorf("another's: %v", err)
	}
	ids, err = From([]string{lockedKey}, func(string) ([]byte, error) { return []byte("wrong"), nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(ids, sealed); err == nil {
		t.Error("a wrong passphrase opens a key")
	}
}

func seal(t *testing.T, r Recipients, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := r.Writer(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !Sealed(out.Bytes()) || Sealed(data) {
		t.Error("what is encrypted is not known by its beginning")
	}
	return out.Bytes()
}

func open(ids Identities, sealed []byte) ([]byte, error) {
	r, err := ids.Reader(bytes.NewReader(sealed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// TestBadKeys: what cannot be a key is said, and a secret that was typed in the place of a public one is not shown.
func TestBadKeys(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"AGE-SECRET-KEY-1ABCDEFGHIJKLMNOPQRSTUVWXYZ": "that is a secret key",
		"someone":            "neither age1",
		"age1nonsense":       "age1nonsense",
		"@" + file(t, "#\n"): "there is none",
		"@/no/such/file":     "no such file",
	} {
		if _, err := To([]string{text}); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "MNOPQRSTUVW") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := WithPassphrase(file(t, "\nsecond")); err == nil || !strings.Contains(err.Error(), "first line is empty") {
		t.Error(err)
	}
	if _, err := From([]string{file(t, "neither")}, nil); err == nil {
		t.Error("no key is read as one")
	}
}
