package redact

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// TestWhatIsWithheld has for each text what becomes of it. ⟦ and ⟧ are around what is withheld.
func TestWhatIsWithheld(t *testing.T) {
	for name, c := range map[string]struct {
		kind Kind
		text string
	}{
		"a token":                                     {Token, "token=⟦" + jwt + "⟧ end"},
		"a token that a letter stands before":         {Token, `line\n⟦` + jwt + `⟧\n`},
		"a token without signature":                   {Token, "⟦" + jwt[:strings.LastIndex(jwt, ".")] + "⟧"},
		"a token that was cut off in its claims":      {Token, "⟦" + jwt[:60] + "⟧"},
		"an encrypted token":                          {Token, "⟦" + encode(`{"alg":"dir","enc":"A128GCM"}`) + "..aXY.Y2lwaGVy.dGFn⟧"},
		"a token in base64, as in a Secret":           {Token, "  token: ⟦" + standard(jwt) + "⟧\n"},
		"two tokens":                                  {Token, "⟦" + jwt + "⟧ ⟦" + jwt + "⟧"},
		"a private key":                               {PrivateKey, "⟦" + key + "⟧\n"},
		"a key of RSA":                                {PrivateKey, "⟦" + strings.ReplaceAll(key, "PRIVATE", "RSA PRIVATE") + "⟧"},
		"an encrypted key":                            {PrivateKey, "⟦-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n" + body + "\n-----END EC PRIVATE KEY-----⟧"},
		"a key in JSON":                               {PrivateKey, `{"key":"⟦` + escaped(key) + `⟧\n"}`},
		"a key in YAML":                               {PrivateKey, "tls.key: |\n    ⟦" + strings.ReplaceAll(key, "\n", "\n    ") + "⟧\n"},
		"a key on lines of a log":                     {PrivateKey, "2026-11-23T06:00:00.1Z stdout F ⟦" + strings.ReplaceAll(key, "\n", "\n2026-11-23T06:00:00.2Z stdout F ") + "⟧\n"},
		"a key that was cut off":                      {PrivateKey, "⟦" + key[:70] + "⟧"},
		"a key that was cut off in JSON":              {PrivateKey, `{"key":"⟦` + escaped(key[:70]) + `⟧"}`},
		"the key of a Secret":                         {PrivateKey, "data:\n  tls.key: ⟦" + standard(key) + "⟧\n"},
		"the key after its certificate":               {PrivateKey, `"⟦` + standard("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"+key) + `⟧"`},
		"an authorization header":                     {Credential, "Authorization: Bearer ⟦abc-def_0123⟧\r\n"},
		"an authorization header in JSON":             {Credential, `{"Authorization":["Basic ⟦dXNlcjpw⟧"]}`},
		"an authorization header in JSON's JSON":      {Credential, `"{\"authorization\": \"bearer ⟦abc-def_0123⟧\"}"`},
		"an authorization header as Go prints it":     {Credential, "map[Authorization:[Bearer ⟦abc-def_0123⟧] Accept:[*/*]]"},
		"a shared key":                                {Credential, "authorization: SharedKey ⟦wie2e:c2lnbmF0dXJl+/==⟧"},
		"an assertion in a form":                      {Credential, "grant_type=client_credentials&client_assertion=⟦opaque-assertion⟧&scope=x"},
		"a client's secret in a form":                 {Credential, "client_secret=⟦8Q~x.y_z%2B-123⟧"},
		"a client's secret in JSON":                   {Credential, `{"client_secret": "⟦8Q~x.y_z+/\u002b=⟧", "b": 1}`},
		"a client's secret in YAML":                   {Credential, "clientSecret: ⟦8Qx.y_z0123456789-abcdefghij⟧\n"},
		"an access token that is no JWT":              {Credential, `{"access_token":"⟦secret-of-another-kind⟧"}`},
		"an access token in JSON's JSON":              {Credential, `"{\"accessToken\":\"⟦opaque-token⟧\"}"`},
		"a refresh token":                             {Credential, `"refresh_token": "⟦0.AXoAopaque⟧"`},
		"a variable of a container in YAML":           {Credential, "- name: AZURE_CLIENT_SECRET\n  value: ⟦8Q~opaque⟧\n"},
		"a variable of a container in JSON":           {Credential, `{"name":"AZURE_CLIENT_SECRET","value":"⟦8Q~opaque⟧"}`},
		"the key of a connection string":              {StorageKey, "AccountName=x;AccountKey=⟦" + strings.Repeat("Ab+/", 21) + "Ab==⟧;EndpointSuffix=x"},
		"a storage account's key":                     {StorageKey, `{"keyName":"key1","value": "⟦` + strings.Repeat("Ab+/", 21) + `Ab==⟧"}`},
		"a shared access signature":                   {Signature, "https://x.blob.core.windows.net/c?sv=1&sig=⟦" + strings.Repeat("aB3%2F", 8) + "%3D⟧&se=2"},
		"a shared access signature in JSON":           {Signature, `"sv=1\u0026sig=⟦` + strings.Repeat("aB3%2F", 8) + `%3D⟧"`},
		"a shared access signature in HTML":           {Signature, `"sv=1&amp;sig=⟦` + strings.Repeat("aB3%2F", 8) + `%3D⟧"`},
		"a run's secret":                              {Secret, "read ⟦" + secret + "⟧."},
		"a run's secret in base64":                    {Secret, "⟦" + inBase64(secret, 0) + "⟧" + standard(secret)[len(inBase64(secret, 0)):]},
		"a run's secret in the middle of base64":      {Secret, "eDo⟦" + standard("x:" + secret)[3:len(standard("x:"+secret))] + "⟧"},
		"a run's secret in hexadecimal":               {Secret, "⟦" + hexadecimal(secret) + "⟧"},
		"a run's secret in capital hexadecimal":       {Secret, "⟦" + strings.ToUpper(hexadecimal(secret)) + "⟧"},
		"a secret beside a mark":                      {Secret, "(withheld: a token)⟦" + secret + "⟧(withheld)"},
		"a token between what a secret is encoded to": {Token, strings.Repeat("0123456789abcdef", 4) + " ⟦" + jwt + "⟧ sha256:" + strings.Repeat("0f", 32)},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.NewReplacer("⟦", "", "⟧", "").Replace(c.text)
			var want strings.Builder
			for i, part := range strings.Split(c.text, "⟦") {
				if i > 0 {
					_, part, _ = strings.Cut(part, "⟧")
					want.WriteString(c.kind.Mark())
				}
				want.WriteString(part)
			}
			var r *Redactor
			if got := r.String(text); got != want.String() {
				t.Errorf("of %q is left\n%q, want\n%q", text, got, want.String())
			}
			if !r.Holds(text) || r.Holds(want.String()) {
				t.Errorf("it holds something: %t, and what is left: %t", r.Holds(text), r.Holds(want.String()))
			}
		})
	}
}

// What looks like a secret, and is none, has to stay: a redactor that hides it is turned off.
func TestWhatStays(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                          "",
		"prose about tokens":               "the token was refused: no client_secret, no access_token, and the Authorization: Bearer header is missing",
		"an error of Entra ID":             "AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or 'client_secret'. Trace ID: 0f0f",
		"an error after a field's name":    "client_assertion: AADSTS700024: Client assertion is not within its valid time range",
		"the type of an assertion":         "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
		"a method of authentication":       `"token_endpoint_auth_methods_supported":["client_secret_post","private_key_jwt","client_secret_basic"]`,
		"a challenge":                      `Bearer authorization="https://login.microsoftonline.com/11111111-2222-4333-8444-555555555555", resource="https://vault.azure.net"`,
		"a group of the API":               "apiGroups: [authorization.k8s.io]\nauthorization:\n  mode: Webhook\n",
		"the claims of a token":            `{"iss":"https://198.18.0.1:6443","sub":"system:serviceaccount:shop:cart","aud":["api://AzureADTokenExchange"],"exp":1795410000}`,
		"claims in base64":                 encode(`{"iss":"https://198.18.0.1:6443","sub":"system:serviceaccount:shop:cart"}`) + "." + encode("x"),
		"the header of a token":            encode(header),
		"a signed statement":               `{"payloadType":"application/vnd.in-toto+json","payload":"` + standard(`{"_type":"https://in-toto.io/Statement/v1","alg":"x"}`) + `","signatures":[{"sig":"` + standard(strings.Repeat("s", 64)) + `"}]}`,
		"the hash of a token":              "sha256:" + strings.Repeat("0a1b", 16) + ", SHA-256 " + standard(strings.Repeat("h", 32)),
		"a digest of 512 bits":             `"integrity": "sha512-` + strings.Repeat("Ab+/", 21) + `Ab=="`,
		"an image":                         "wi-e2e.dev/python-azidentity@sha256:" + strings.Repeat("0123456789abcdef", 4),
		"a certificate":                    "-----BEGIN CERTIFICATE-----\n" + body + "\n-----END CERTIFICATE-----\n",
		"a certificate in base64":          "caBundle: " + standard("-----BEGIN CERTIFICATE-----\n"+body+"\n-----END CERTIFICATE-----\n"),
		"a public key":                     strings.ReplaceAll(key, "PRIVATE", "PUBLIC"),
		"a message about a key":            `no "-----BEGIN PRIVATE KEY-----" in tls.key, want -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY----- around it`,
		"a JSON web key set":               `{"keys":[{"use":"sig","kty":"RSA","kid":"` + encode(strings.Repeat("k", 32)) + `","alg":"RS256","n":"` + encode(strings.Repeat("n", 256)) + `","e":"AQAB"}]}`,
		"the ID of a run":                  "run 0a1b2c3d, seed 42, wi-e2e-0a1b2c3d-read-secret",
		"the name of the secret":           "SECRET_NAME=canary https://wie2e7k2m.vault.azure.net/secrets/canary?api-version=7.4 canary-0123",
		"variables of a shell":             `client_secret=$AZURE_CLIENT_SECRET client_secret="${SECRET}" access_token=<token> client_secret=*** access_token=%s`,
		"what others have withheld":        `{"access_token":"(withheld)"} Authorization: Bearer (withheld) client_secret=(withheld: a credential)`,
		"a parameter that ends in sig":     "https://x?design=" + strings.Repeat("a", 40),
		"a field that is named as a token": `{"accessTokenLifetime":86400,"access_token":null,"client_secret":""}`,
	} {
		t.Run(name, func(t *testing.T) {
			var r *Redactor
			if got := r.String(text); got != text {
				t.Errorf("of %q is left\n%q", text, got)
			}
			if r.Holds(text) {
				t.Error("something of it would be withheld")
			}
		})
	}
}

func TestALiteralIsWithheldInEveryEncoding(t *testing.T) {
	const literal = `p&ss wörd/"<+>?`
	r := &Redactor{}
	r.Add(literal)
	r.Add("")
	marshalled, err := json.Marshal(literal)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"as it is":                         literal,
		"in a query":                       url.QueryEscape(literal),
		"in a query, in small letters":     strings.ToLower(url.QueryEscape(literal)),
		"in a path":                        url.PathEscape(literal),
		"in JSON":                          string(marshalled[1 : len(marshalled)-1]),
		"in JSON that leaves < alone":      strings.ReplaceAll(literal, `"`, `\"`),
		"in hexadecimal":                   hexadecimal(literal),
		"in base64":                        standard(literal),
		"in base64 of URLs":                encode(literal),
		"in base64, after one byte":        standard("x" + literal + "y"),
		"in base64 of URLs, after another": encode("xy" + literal + "z"),
	} {
		t.Run(name, func(t *testing.T) {
			got := r.String("before " + text + " after")
			if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") || !strings.Contains(got, Secret.Mark()) {
				t.Fatalf("%q became %q", text, got)
			}
			if left := strings.Replace(strings.TrimSuffix(strings.TrimPrefix(got, "before "), " after"), Secret.Mark(), "", 1); len(left) > 6 {
				t.Errorf("there is left %q", left)
			}
		})
	}
	if got := (&Redactor{}).String(literal); got != literal {
		t.Errorf("a redactor that was told nothing makes of it %q", got)
	}
}

func TestALiteralThatAMarkHasIsWithheldOnce(t *testing.T) {
	r := &Redactor{}
	r.Add("token")
	if got := r.String("a token, (withheld: a token)"); got != "a (withheld: a secret of the run), (withheld: a token)" {
		t.Errorf("it became %q", got)
	}
}

func TestASecretThatWasDrawnIsKnownToARedactorThatWasToldNothing(t *testing.T) {
	drawn, err := NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewSecret()
	if err != nil || drawn == other {
		t.Errorf("the second secret is %q (%v), and the first %q", other, err, drawn)
	}
	var r *Redactor
	for offset := range 3 {
		for _, text := range []string{drawn, hexadecimal(drawn), standard(strings.Repeat("x", offset) + drawn + "y")} {
			if got := r.String(text); !strings.Contains(got, Secret.Mark()) || len(got) > len(Secret.Mark())+8 {
				t.Errorf("%q became %q", text, got)
			}
		}
	}
}

func FuzzNothingIsFoundInWhatWasRedacted(f *testing.F) {
	for _, text := range []string{
		jwt, key, secret, standard(secret), hexadecimal(secret), standard(jwt), standard(key), "Authorization: Bearer abc-def_0123", "client_secret=8Q~opaque",
		`"value":"` + strings.Repeat("Ab+/", 21) + `Ab=="`, "?sig=" + strings.Repeat("a", 40), "(withheld: a token)" + jwt, "client_secret=" + jwt + key, escaped(key),
		"known-literal", standard("known-literal"),
	} {
		f.Add(text, text[len(text)/2:], 7)
	}
	r := &Redactor{}
	r.Add("known-literal")
	f.Fuzz(func(t *testing.T, first, second string, cut int) {
		text := first + second
		once := r.String(text)
		if again := r.String(once); again != once {
			t.Errorf("%q became %q, and that %q", text, once, again)
		}
		if r.Holds(once) {
			t.Errorf("%q became %q, of which something would be withheld", text, once)
		}
		if (once != text) != r.Holds(text) {
			t.Errorf("%q became %q, and that it holds something is %t", text, once, r.Holds(text))
		}
		if len(text) > 0 {
			cut = int(uint(cut) % uint(len(text)))
		} else {
			cut = 0
		}
		if streamed, _ := stream(t, r, text[:cut], text[cut:]); streamed != once {
			t.Errorf("%q became %q, and in two pieces %q", text, once, streamed)
		}
	})
}
