package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// entry is a file of an archive.
type entry struct {
	name string
	mode fs.FileMode
	data []byte
}

// epoch is every file's time: the earliest that zip can say. When somebody built is not part of a release.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// bundle packs files in this order, without times, owners or anything else of who does it. The name says the form.
func bundle(name string, files []entry) ([]byte, error) {
	var out bytes.Buffer
	var err error
	if strings.HasSuffix(name, ".zip") {
		err = writeZip(&out, files)
	} else {
		err = writeTar(&out, files)
	}
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", name, err)
	}
	return out.Bytes(), nil
}

func writeTar(w io.Writer, files []entry) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, f := range files {
		err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: int64(f.mode), Size: int64(len(f.data)), ModTime: epoch, Format: tar.FormatUSTAR})
		if err != nil {
			return err
		}
		if _, err := t.Write(f.data); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}

func writeZip(w io.Writer, files []entry) error {
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: epoch}
		h.SetMode(f.mode)
		part, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := part.Write(f.data); err != nil {
			return err
		}
	}
	return z.Close()
}

// unbundle reads an archive that bundle, or anybody else, packed.
func unbundle(name string, archive []byte) (files []entry, err error) {
	if strings.HasSuffix(name, ".zip") {
		return readZip(archive)
	}
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(t)
		if err != nil {
			return nil, err
		}
		files = append(files, entry{h.Name, h.FileInfo().Mode(), data})
	}
}

func readZip(archive []byte) (files []entry, err error) {
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, err
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			return nil, err
		}
		files = append(files, entry{f.Name, f.Mode(), data})
	}
	return files, nil
}
