package verify

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/boltfile"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// FormatError says what a file is that is no snapshot, and which command makes one of it.
type FormatError struct {
	// What it is, with its article, and Way out of it; either may be empty.
	What, Way string
	Cause     error
}

func (e *FormatError) Error() string { return fmt.Sprintf("%v: it is %s", ErrNotSnapshot, e.What) }

// Unwrap makes it an ErrNotSnapshot and its cause.
func (e *FormatError) Unwrap() []error { return []error{ErrNotSnapshot, e.Cause} }

// Hint is the way out.
func (e *FormatError) Hint() string { return e.Way }

// headSize is how much of a file is looked at to tell what it is.
const headSize = 4 << 10

// explain tells what a file is that is no database. What was unpacked may be something else yet.
func (j *job) explain(r io.ReaderAt, size int64, err error) error {
	var known *FormatError
	if !errors.Is(err, ErrNotSnapshot) || errors.As(err, &known) {
		return err
	}
	head := make([]byte, min(size, headSize))
	if n, readErr := r.ReadAt(head, 0); readErr != nil && n < len(head) {
		return err
	}
	f := recognize(head, quoted(j.path))
	if f.What == "" {
		return err
	}
	if unpack := unpackers[j.report.Compression]; unpack != "" {
		f.What += " within " + string(j.report.Compression)
		if !strings.HasPrefix(f.Way, undo+"tar ") || j.report.Compression == snapshot.Zip { // which unpacks both
			f.Way = "look at what comes out of: " + fmt.Sprintf(unpack, quoted(j.path))
		}
	}
	f.Cause = err
	return &f
}

var unpackers = map[snapshot.Compression]string{snapshot.Zstd: "zstd -dc %s > unpacked", snapshot.Gzip: "gzip -dc %s > unpacked", snapshot.Zip: "unzip %s"}

// undo is what a command stands behind in a hint.
const undo = "undo that with: "

// good is what a hint calls the snapshot that it makes.
const good = "good.db"

// signatures are at the start of what other programs write, unless at says where; %s is the file.
var signatures = []struct {
	at        int
	magic     string
	what, way string
}{
	{257, "ustar", "a tar archive", "tar -xf %s"},
	{0, "\xfd7zXZ\x00", "xz data", "xz -dc %s > " + good},
	{0, "BZh", "bzip2 data", "bzip2 -dc %s > " + good},
	{0, "\x04\x22\x4d\x18", "lz4 data", "lz4 -dc %s > " + good},
	{0, "7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x %s"},
	{0, "PK\x05\x06", "a zip archive without files", ""},
	{0, "age-encryption.org/v1", "encrypted with age", "age -d -i KEY -o " + good + " %s"},
	{0, "-----BEGIN AGE ENCRYPTED FILE-----", "encrypted with age", "age -d -i KEY -o " + good + " %s"},
	{0, "-----BEGIN PGP MESSAGE-----", "encrypted with PGP", "gpg -o " + good + " -d %s"},
	{0, "Salted__", "encrypted with openssl enc", "openssl enc -d -CIPHER -in %s -out " + good},
	{0, "$ANSIBLE_VAULT;", "encrypted with Ansible Vault", "ansible-vault decrypt --output " + good + " %s"},
	{0, "version https://git-lfs.github.com/spec/", "what Git LFS left in the place of the file", "git lfs pull --include %s"},
	{0, "SQLite format 3\x00", "an SQLite database, as k3s has without etcd (kine)", ""},
}

// recognize knows a file by how it begins. What is empty where nobody knows.
func recognize(head []byte, name string) FormatError {
	for _, s := range signatures {
		if len(head) >= s.at && bytes.HasPrefix(head[s.at:], []byte(s.magic)) {
			if s.way == "" {
				return FormatError{What: s.what}
			}
			return FormatError{What: s.what, Way: undo + fmt.Sprintf(s.way, name)}
		}
	}
	if c := snapshot.DetectCompression(head); c != snapshot.None {
		return FormatError{What: string(c) + " data"}
	}
	if text, ok := utf16Text(head); ok {
		return utf16Format(text, name)
	}
	if what := base64Of(head); what != "" {
		return FormatError{What: "base64 text of " + what, Way: undo + decoder(head, name)}
	}
	return document(head, name)
}

// document knows texts that somebody got instead of a snapshot.
func document(head []byte, name string) FormatError {
	text := strings.ToLower(string(bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")))))
	for _, d := range []struct{ start, what string }{
		{"<?xml", "an XML document"}, {"<error", "an XML document"}, {"<!doctype html", "an HTML page"}, {"<html", "an HTML page"}, {"{", "a JSON document"},
	} {
		if !strings.HasPrefix(text, d.start) {
			continue
		}
		if d.start == "{" && strings.Contains(text, strings.ToLower(`"apiVersion": "`+snapshot.APIVersion)) {
			return FormatError{What: "the sidecar of a snapshot", Way: "name the snapshot that it lies beside"}
		}
		if m := said.FindSubmatch(head); m != nil {
			d.what += fmt.Sprintf(" that says %q", strings.TrimSpace(string(m[2])))
		}
		return FormatError{What: d.what, Way: fmt.Sprintf("it came in the place of the snapshot: see what it says (head -c 500 %s), and download again", name)}
	}
	return FormatError{}
}

// said finds what a server answered, in XML or HTML.
var said = regexp.MustCompile(`<(Code|title|TITLE)>\s*([^<]{1,80})<`)

// utf16Format is for what PowerShell's > makes of a program's output.
func utf16Format(text []byte, name string) FormatError {
	if what := base64Of(text); what != "" {
		return FormatError{What: "base64 text of " + what + " in UTF-16", Way: undo + fmt.Sprintf("iconv -f UTF-16 -t ASCII %s | ", name) + decoder(text, "")}
	}
	return FormatError{What: "UTF-16 text, as PowerShell's > makes of any output", Way: fmt.Sprintf(
		"let the program write its file itself (kubectl etcd backup --to FILE); where no line end was changed, which verify tells, %siconv -f UTF-16 -t CP437 %s > %s", undo, name, good)}
}

// utf16Text returns the characters of UTF-16 with a byte order mark, of which those above 255 become a question mark.
func utf16Text(head []byte) ([]byte, bool) {
	var order binary.ByteOrder = binary.LittleEndian
	switch {
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	case !bytes.HasPrefix(head, []byte{0xff, 0xfe}):
		return nil, false
	}
	var units []uint16
	for rest := head[2:]; len(rest) >= 2; rest = rest[2:] {
		units = append(units, order.Uint16(rest))
	}
	var text []byte
	for _, r := range utf16.Decode(units) {
		if r > unicode.MaxLatin1 {
			r = '?'
		}
		text = append(text, byte(r))
	}
	return text, true
}

// decoder is the command that decodes a text in base64, of a file or, without a name, of its input. Line ends of Windows
// disturb base64, and so do the first and the last line of PEM.
func decoder(text []byte, name string) string {
	var stages []string
	if bytes.HasPrefix(text, pemStart) {
		stages = append(stages, "grep -v '^-----'")
	}
	if bytes.IndexByte(text, '\r') >= 0 {
		stages = append(stages, "tr -d '\\r'")
	}
	stages = append(stages, "base64 -d")
	if name != "" {
		stages[0] += " < " + name
	}
	return strings.Join(stages, " | ") + " > " + good
}

var pemStart = []byte("-----BEGIN ")

// base64Of tells what a text in base64 is of, PEM or not; nothing where that is unknown.
func base64Of(head []byte) string {
	if bytes.HasPrefix(head, pemStart) {
		_, head, _ = bytes.Cut(head, []byte("\n"))
	}
	packed := make([]byte, 0, len(head))
	for _, c := range head {
		switch {
		case c == '\n' || c == '\r':
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '+', c == '/', c == '=':
			packed = append(packed, c)
		default:
			return ""
		}
	}
	plain := make([]byte, base64.StdEncoding.DecodedLen(len(packed)))
	n, _ := base64.StdEncoding.Decode(plain, packed[:len(packed)/4*4]) // as far as it is base64
	plain = plain[:n]
	if snapshot.IsDatabase(plain) {
		return "a snapshot"
	}
	if c := snapshot.DetectCompression(plain); c != snapshot.None {
		return string(c) + " data"
	}
	return ""
}

// quoted is a file's name for a shell.
func quoted(path string) string {
	if path != "" && !plainName.MatchString(path) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=,\\-]+$`)

// etcdBuckets are what an etcd's database always has; the first two say enough together.
var etcdBuckets = []string{"key", "meta", "alarm", "auth", "authRoles", "authUsers", "cluster", "lease", "members", "members_removed"}

// foreign refuses a database of another program: bbolt has many users.
func foreign(ctx context.Context, db *boltfile.File) error {
	const enough, most = 3, 5
	var others []string
	known, count := map[string]bool{}, 0
	err := db.Buckets(ctx, nil, func(b boltfile.Bucket) error {
		if count++; slices.Contains(etcdBuckets, string(b.Name)) {
			known[string(b.Name)] = true
		}
		if len(others) < most {
			others = append(others, fmt.Sprintf("%.40q", b.Name))
		}
		return nil
	})
	db.Reset()
	switch {
	case err != nil, known["key"] && known["meta"], len(known) >= enough: // damaged: the trailer says more
		return nil
	case count == 0:
		return &FormatError{What: "a bbolt database without anything in it", Way: wayOfBolt}
	case count > most:
		others = append(others, fmt.Sprintf("and %d more", count-most))
	}
	return &FormatError{What: "a bbolt database of another program, with the buckets " + strings.Join(others, ", "), Way: wayOfBolt}
}

const wayOfBolt = "etcd's own is the file member/snap/db in its data directory"
