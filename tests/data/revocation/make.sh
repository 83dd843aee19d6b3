#!/usr/bin/env bash
# Makes the answers that the unit tables of the guard judge, by the `openssl` command alone: a third
# party's bytes, not our own. They are kept in the repository; the tests say which time it is.
# Run in an empty directory with this script's path; then copy the .der files here, and set
# `MADE_AT` in src/guard/fixture.rs to the number in `made-at`.
set -euo pipefail
date +%s > made-at
cat > ca.cnf <<'CNF'
[ca]
default_ca = d
[d]
database = index.txt
serial = serial
crlnumber = crlnumber
default_md = sha256
policy = p
certificate = ca.pem
private_key = ca.key
new_certs_dir = .
default_days = 3000
default_crl_days = 4
crl_extensions = crl_ext
unique_subject = no
[p]
commonName = supplied
[crl_ext]
authorityKeyIdentifier = keyid
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[delegate]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = OCSPSigning
noCheck = ignored
[no_eku]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
[leaf]
basicConstraints = critical,CA:FALSE
CNF
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
root() { key "$1"; openssl req -x509 -new -key "$1.key" -subj "/CN=$2" -days 3600 -config ca.cnf -extensions root -out "$1.pem"; }
cert() { # name, CN, section, ca, serial
  key "$1"; openssl req -new -key "$1.key" -subj "/CN=$2" -out "$1.csr" -config <(printf '[req]\ndistinguished_name=d\n[d]\n')
  openssl x509 -req -in "$1.csr" -CA "$4.pem" -CAkey "$4.key" -set_serial "$5" -days 3000 -extfile ca.cnf -extensions "$3" -out "$1.pem" 2>/dev/null
}
root ca "Test CA"; root other "Other CA"
cert delegate "Test OCSP" delegate ca 0x10
cert stranger "Other OCSP" delegate other 0x11
cert no-eku "No EKU" no_eku ca 0x12
cert good good leaf ca 0x80aabb01
cert revoked revoked leaf ca 0x02
cert unissued unissued leaf ca 0x03
Z() { date -u -d "$1" +%y%m%d%H%M%SZ; }
END=$(Z '+8 years')
printf 'V\t%s\t\t80AABB01\tunknown\t/CN=good\nR\t%s\t%s,keyCompromise\t02\tunknown\t/CN=revoked\n' "$END" "$END" "$(Z '-1 day')" > index.txt
printf '1000' > serial; printf '05' > crlnumber; echo 'unique_subject = no' > index.txt.attr
ask() { openssl ocsp -issuer ca.pem -cert "$1.pem" -no_nonce -reqout "$1.req" >/dev/null 2>&1; }
ask good; ask revoked; ask unissued
say() { # out, request, signer, options
  local out=$1 req=$2 by=$3; shift 3
  openssl ocsp -index index.txt -CA ca.pem -rsigner "$by.pem" -rkey "$by.key" -reqin "$req.req" -respout "$out.der" "$@" >/dev/null 2>&1
}
say ocsp-good good delegate -ndays 4
say ocsp-good-by-key good delegate -ndays 4 -resp_key_id
say ocsp-good-by-issuer good ca -ndays 4
say ocsp-revoked revoked delegate -ndays 4
say ocsp-unknown unissued delegate -ndays 4
say ocsp-badsig good delegate -ndays 4 -badsig
say ocsp-wrong-key good stranger -ndays 4
say ocsp-no-eku good no-eku -ndays 4
say ocsp-no-certs good delegate -ndays 4 -resp_no_certs
say ocsp-no-next good delegate
say ocsp-30-days good delegate -ndays 30
say ocsp-1-hour good delegate -nmin 60
openssl ca -config ca.cnf -gencrl -out crl-5.pem 2>/dev/null
printf '06' > crlnumber; sleep 1
openssl ca -config ca.cnf -gencrl -out crl-6.pem 2>/dev/null
cp index.txt index.keep
printf 'R\t%s\t%s,superseded\t80AABB01\tunknown\t/CN=good\n' "$END" "$(Z '-1 hour')" > index.txt
printf '07' > crlnumber
openssl ca -config ca.cnf -gencrl -out crl-swapped.pem 2>/dev/null
cp index.keep index.txt
printf '08' > crlnumber
openssl ca -config ca.cnf -gencrl -crldays 30 -out crl-30-days.pem 2>/dev/null
printf '09' > crlnumber
openssl ca -config ca.cnf -cert other.pem -keyfile other.key -gencrl -out crl-other.pem 2>/dev/null
for list in crl-*.pem; do openssl crl -in "$list" -outform DER -out "${list%.pem}.der"; done
for cert in ca good revoked unissued; do openssl x509 -in "$cert.pem" -outform DER -out "$cert.der"; done
