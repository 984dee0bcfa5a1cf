package translate

import (
	"regexp"
	"strings"
)

// The guards read only what is not quoted: content may say anything. They
// stand before retrieval, in this order, so that words that ask for a shell
// are refused as such whatever else they ask for (C-06, C-08).
var (
	shellWords = wordSet("sudo doas bash zsh ksh dash fish powershell pwsh cmd.exe /bin/sh /bin/bash eval xargs")
	shellHeads = wordSet("run execute exec eval source systemctl apt apt-get dnf yum pacman curl wget dd chmod chown iptables nft crontab python python3 perl node ruby sh su изпълни führe ./ nohup env mkfs shutdown reboot")
	flagHeads  = wordSet("rm cp mv mkdir ps git touch ls cat kill find tar grep sed awk ln")
	shellText  = sieved("`|\\$\\(|\\$\\{|&&|\\|\\||(^|\\s)\\|(\\s|$)|(^|\\s)\\d?>>?(\\s|&|/|$)|<\\(|\\S\\|\\S|\\brm\\s+-|\\b(via|in|through|using|with|open|start|give me)\\s+(a\\s+|the\\s+)?(shell|terminal)\\b|\\bshell\\s+(command|script|session)\\b|\\bcommand line\\b|\\b(ba|z|k)?sh\\s+-c\\b")

	reveal     = sieved(`\b(show|print|reveal|display|read|tell|give|send|export|copy|dump|cat|what is|what's|whats|upload|email|mail|leak|move|get|fetch|zeig|zeige|gib|exportiere|decrypt|list|output)(\s|$)|(покажи|дай|изпрати|прочети|копирай)`)
	secretNoun = sieved(`\b(private|ssh|secret|api|signing|encryption|recovery|master|root|host)[ -]keys?\b|\bkey material\b|\bpasswords?(\s|$)|\bpasswd\b|\bpassphrases?\b|\bsecrets?(\s|$)|\b(api|access|auth|bearer|session|login)[ -]?tokens?\b|\bcredentials?\b|\bid_(rsa|ed25519|ecdsa)\b|\.pem(\s|$)|/\.ssh(/|\s|$)|(^|\s)~?\.ssh(/|\s|$)|\bvault (contents?|secrets?|keys?)\b|\bpasswor(t|d|ter)\b|\bpasswörter\b|\bgeheim\w*|\bprivaten? schlüssel\b|парол|таен ключ|тайн\S* ключ|частн\S* ключ`)

	bypass = sieved(`\bignore\s+(all\s+|any\s+|your\s+|the\s+|my\s+|these\s+|previous\s+|prior\s+|of\s+)*(rules?|instructions?|polic(y|ies)|restrictions?|safeguards?|limits|approvals?)\b` +
		`|\bwithout\s+(any\s+|my\s+|an\s+|the\s+|human\s+|further\s+|asking\s+(for\s+)?)*(approval|asking|permission|policy|policies|confirmation|authorization|evidence|audit|logging|verification|review|checks?)\b` +
		`|\b(disable|bypass|skip|turn off|circumvent|override|switch off|get around|evade|suspend|deactivate|remove|stop|kill)\s+(the\s+|all\s+|your\s+|any\s+|my\s+)*(polic(y|ies)|approvals?|rules?|safety|safeguards?|checks?|evidence|audit|auditing|logging|verification|policy kernel|guards?|permissions? checks?)\b` +
		`|\b(don't|dont|do not|never)\s+(log|record|audit|ask for approval|ask me for approval|ask anyone)\b|\bauto[- ]?approve\b|\bapprove\s+(it|this|that|everything|them)\s+(yourself|for me|automatically)\b|\bpretend\s+(that\s+)?(i am|i'm|you are|you're|to be)\b|\bas (root|the system|_system)\b|\bno questions asked\b|\boff the record\b` +
		`|\bohne\s+(genehmigung|freigabe|zu fragen|erlaubnis)\b|\bignoriere\s+(alle\s+|deine\s+|die\s+)*(regeln|richtlinien)\b|\bumgehe\s|\bdeaktiviere\s+(die\s+)?(richtlinie|regeln)|без (одобрение|разрешение|да питаш)|игнорирай .*правила|(изключи|заобиколи) .*(правила|политика)`)

	recovery = sieved(`\b(disable|delete|wipe|remove|erase|format|break|destroy|overwrite|turn off|change|modify|edit|replace)\b.*\b(recovery (partition|path|mode|image|system|key|boot|scope)|boot ?loader|boot chain|boot partition)\b|\b(lösche|entferne)\b.*\bwiederherstellungs|(изтрий|изключи).*(възстановяване|recovery)`)
)

// guard refuses what no typed action may come of; nil when nothing is wrong.
func guard(toks []token, c *Catalog) *Refusal {
	var b strings.Builder
	for _, t := range toks {
		if t.quoted {
			b.WriteString(" \x00 ") // a place holder no expression matches across
			continue
		}
		b.WriteString(t.lower)
		b.WriteByte(' ')
	}
	plain := strings.ReplaceAll(strings.TrimSpace(b.String()), "’", "'")
	if shell(toks, plain, c) {
		return &Refusal{Code: UntypedShellRequested, Message: "commands are not run; say what should be true afterwards, as in: restart nginx"}
	}
	if secretNoun.MatchString(plain) && reveal.MatchString(plain) && !brokered.MatchString(plain) {
		return &Refusal{Code: SecretExfiltrationRequest, Message: "secrets stay in the vault; an action may use one, nobody is shown one"}
	}
	if bypass.MatchString(plain) {
		return &Refusal{Code: PolicyBypassRequested, Message: "policy, approval and evidence cannot be left out"}
	}
	if recovery.MatchString(plain) {
		return &Refusal{Code: RecoveryPathUnsafe, Message: "what recovery needs is changed in recovery mode only"}
	}
	return nil
}

// brokered: using a key for something is not asking to see it (C-03).
var brokered = regexp.MustCompile(`^(please )?(clone|use|take|klone|клонирай)\b|^клонирай`)

var politeWord = wordSet("please kindly bitte моля now then just hey hi hello first second next finally and")

func shell(toks []token, plain string, c *Catalog) bool {
	if shellText.MatchString(plain) {
		return true
	}
	first := true
	for i, t := range toks {
		if t.sep {
			first = true
			continue
		}
		if t.quoted {
			first = false
			continue
		}
		if shellWords[t.lower] {
			return true
		}
		if first && politeWord[t.lower] {
			continue
		}
		if first || i > 0 && (toks[i-1].lower == "and" || toks[i-1].lower == "then") {
			if shellHeads[t.lower] || strings.HasPrefix(t.lower, "./") {
				if i+1 < len(toks) {
					if _, ok := c.Lookup(toks[i+1].lower); ok {
						return false
					}
				}
				return t.lower != "reboot" && t.lower != "node" || i+1 < len(toks)
			}
			if flagHeads[t.lower] && i+1 < len(toks) && hasFlag(toks[i+1:]) {
				return true
			}
		}
		first = false
	}
	return false
}

func hasFlag(toks []token) bool {
	for _, t := range toks {
		if t.sep {
			return false
		}
		if !t.quoted && len(t.text) > 1 && t.text[0] == '-' {
			return true
		}
	}
	return false
}

// secretPath names files whose copy would be a leak.
var secretPath = regexp.MustCompile(`(^|/)(id_(rsa|dsa|ecdsa|ed25519)(\.\w+)?|\.ssh|\.gnupg|vault)(/|$)|\.pem$`)
