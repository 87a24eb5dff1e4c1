// Package seal encrypts snapshots with age, so that public tools undo it: age -d -i KEY NAME.db.zst.age | zstd -d.
package seal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

// Extension is what the name of an encrypted file ends in.
const Extension = ".age"

// maxKeys is far above any file of keys, in bytes.
const maxKeys = 1 << 20

// Recipients are for whom it is encrypted.
type Recipients struct {
	keys []age.Recipient
	// Names say whom, and no secret: public keys, or "a passphrase".
	Names []string
}

// Passphrase is what Names has for one.
const Passphrase = "a passphrase"

// To reads recipients: age1…, ssh-ed25519 …, ssh-rsa …, or @FILE with one on each line.
func To(texts []string) (Recipients, error) {
	var r Recipients
	for _, text := range texts {
		lines := []string{text}
		if file, ok := strings.CutPrefix(text, "@"); ok {
			data, err := small(file)
			if err != nil {
				return r, err
			}
			lines = strings.Split(string(data), "\n")
		}
		before := len(r.keys)
		for _, line := range lines {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			key, err := recipient(line)
			if err != nil {
				return r, fmt.Errorf("read recipient %s: %w", brief(text), err)
			}
			r.keys, r.Names = append(r.keys, key), append(r.Names, named(line))
		}
		if len(r.keys) == before {
			return r, fmt.Errorf("read recipient %s: there is none", brief(text))
		}
	}
	return r, nil
}

func recipient(line string) (age.Recipient, error) {
	switch {
	case strings.HasPrefix(line, "AGE-SECRET-KEY-"):
		return nil, errors.New("that is a secret key; its public one begins with age1")
	case strings.HasPrefix(line, "age1pq1"):
		return age.ParseHybridRecipient(line)
	case strings.HasPrefix(line, "age1"):
		return age.ParseX25519Recipient(line)
	case strings.HasPrefix(line, "ssh-"):
		return agessh.ParseRecipient(line)
	}
	return nil, errors.New("it is neither age1… nor ssh-ed25519 … nor ssh-rsa … nor @FILE")
}

// named is a public key without the comment behind it, which can name a person or a machine.
func named(line string) string {
	if fields := strings.Fields(line); len(fields) > 2 {
		return strings.Join(fields[:2], " ")
	}
	return line
}

// brief is enough of a key to know it by; what was typed by mistake may be secret.
func brief(text string) string {
	if len(text) > 16 && !strings.HasPrefix(text, "@") {
		return text[:12] + "…"
	}
	return text
}

// WithPassphrase is for whoever knows what the first line of a file says.
func WithPassphrase(file string) (Recipients, error) {
	phrase, err := passphrase(file)
	if err != nil {
		return Recipients{}, err
	}
	key, err := age.NewScryptRecipient(phrase)
	if err != nil {
		return Recipients{}, fmt.Errorf("read passphrase %s: %w", file, err)
	}
	return Recipients{[]age.Recipient{key}, []string{Passphrase}}, nil
}

func passphrase(file string) (string, error) {
	data, err := small(file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("read passphrase %s: its first line is empty", file)
	}
	return line, nil
}

func small(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) { // which names the file again
			err = pe.Err
		}
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxKeys+1))
	if err == nil && len(data) > maxKeys {
		err = fmt.Errorf("read %s: too large for a file of keys", file)
	}
	return data, err
}

// Any tells whether there is a recipient.
func (r Recipients) Any() bool { return len(r.keys) > 0 }

// Writer encrypts to w. Close writes what remains; without it nothing can be read.
func (r Recipients) Writer(w io.Writer) (io.WriteCloser, error) { return age.Encrypt(w, r.keys...) }

// Identities are whose keys are at hand.
type Identities struct{ keys []age.Identity }

// Any tells whether there is one.
func (i Identities) Any() bool { return len(i.keys) > 0 }

// From reads files of age's or SSH's private keys. ask is called for the passphrase of a file that has one, when it is needed.
func From(files []string, ask func(prompt string) ([]byte, error)) (Identities, error) {
	var out Identities
	for _, file := range files {
		data, err := small(file)
		if err != nil {
			return out, err
		}
		keys, err := identities(file, data, ask)
		if err != nil {
			return out, fmt.Errorf("read identity %s: %w", file, err)
		}
		out.keys = append(out.keys, keys...)
	}
	return out, nil
}

// WithPassphraseFile adds what the first line of a file says.
func (i *Identities) WithPassphraseFile(file string) error {
	phrase, err := passphrase(file)
	if err != nil {
		return err
	}
	key, err := age.NewScryptIdentity(phrase)
	if err != nil {
		return fmt.Errorf("read passphrase %s: %w", file, err)
	}
	i.keys = append(i.keys, key)
	return nil
}

func identities(file string, data []byte, ask func(string) ([]byte, error)) ([]age.Identity, error) {
	r := bufio.NewReader(bytes.NewReader(data))
	if Sealed(data) || bytes.HasPrefix(data, []byte(armor.Header)) { // a file of keys that is itself encrypted
		var from io.Reader = r
		if bytes.HasPrefix(data, []byte(armor.Header)) {
			from = armor.NewReader(r)
		}
		phrase, err := ask("Passphrase of " + file + ": ")
		if err != nil {
			return nil, err
		}
		key, err := age.NewScryptIdentity(string(phrase))
		if err != nil {
			return nil, err
		}
		plain, err := age.Decrypt(from, key)
		if err != nil {
			return nil, errors.New("the passphrase is wrong")
		}
		return age.ParseIdentities(plain)
	}
	if !bytes.HasPrefix(data, []byte("-----BEGIN")) {
		return age.ParseIdentities(r)
	}
	key, err := agessh.ParseIdentity(data)
	var locked *ssh.PassphraseMissingError
	if !errors.As(err, &locked) {
		return []age.Identity{key}, err
	}
	if locked.PublicKey == nil {
		return nil, errors.New("its key is encrypted in an old format; write it anew with: ssh-keygen -p -f " + file)
	}
	key, err = agessh.NewEncryptedSSHIdentity(locked.PublicKey, data, func() ([]byte, error) { return ask("Passphrase of " + file + ": ") })
	return []age.Identity{key}, err
}

var magic = []byte("age-encryption.org/v1\n")

// Sealed tells whether something that begins like this is encrypted.
func Sealed(head []byte) bool { return bytes.HasPrefix(head, magic) }

// ErrIdentity says that none of the identities is one for whom it is encrypted.
var ErrIdentity = errors.New("no identity fits")

// Reader decrypts. What it gives is authentic up to where it gives it; an end that is not the sealed one is an error.
func (i Identities) Reader(r io.Reader) (io.Reader, error) {
	plain, err := age.Decrypt(r, i.keys...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, ErrIdentity
	}
	return plain, err
}
