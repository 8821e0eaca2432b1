# What tools/check.sh can see in the text of diffrl.h: prints one line `name:LINE: what` per
# finding. One pass over the lines; rules that need the whole file are judged at the end. The rules
# themselves are listed by `tools/check.sh --help`. Writes the public prototypes, with their lines,
# to the file `prototypes`.

function say(line, what) { printf "%s:%d: %s\n", name, line, what }
function trim(s) { sub(/^[ ]+/, "", s); sub(/[ ]+$/, "", s); return s }

# -- text of the line without comments; strings become "". Keeps in_comment over lines --------
function strip(s,    out, p, two) {
    out = ""
    while (s != "") {
        if (in_comment) {
            p = index(s, "*/")
            if (!p) return out
            in_comment = 0
            s = substr(s, p + 2)
            out = out " "
            continue
        }
        if (!match(s, /["']|\/\*|\/\//)) return out s
        out = out substr(s, 1, RSTART - 1)
        two = substr(s, RSTART, 2)
        s = substr(s, RSTART)
        if (two == "//") return out
        if (two == "/*") { in_comment = 1; s = substr(s, 3); continue }
        if (!match(s, /^("([^"\\]|\\.)*"|'([^'\\]|\\.)*')/)) return out
        out = out "\"\""
        s = substr(s, RLENGTH + 1)
    }
    return out
}

# -- contents and banners ---------------------------------------------------------------------
function add_tag(tag, line, title) {
    if (tag in toc) { say(line, ">>" tag " stands twice in CONTENTS"); return }
    toc[tag] = ++tags
    toc_line[tags] = line
    tag_of[tags] = tag
    only[tags] = title ~ /\[api\]$/ ? "api" : title ~ /\[impl\]$/ ? "impl" : ""
}
function banner(tag,    k) {
    section = tag
    if ((part, tag) in seen) { say(NR, "second banner >>" tag " in the " title[part]); return }
    seen[part, tag] = NR
    if (!contents && !(tag in toc)) add_tag(tag, NR, "") # reported at the end
    if (!(tag in toc)) { say(NR, ">>" tag " is not in CONTENTS"); return }
    k = toc[tag]
    if (only[k] && only[k] != part)
        say(NR, ">>" tag " is marked [" only[k] "] in CONTENTS but stands in the " title[part])
    if (k < last_tag[part])
        say(NR, ">>" tag " stands after >>" tag_of[last_tag[part]] ", in CONTENTS before it")
    else last_tag[part] = k
}

# -- guards: a stack of open #if lines --------------------------------------------------------
function section_guards(    lead, k) { # at a banner exactly one guard is open, that of the part
    lead = guard_run                   # #ifndef DIFFRL_NO_X right above belongs to the section
    for (k = 2; k <= depth - lead; k++)
        say(if_line[k], "guard is still open where >>" section " begins")
    if (depth - lead < 1) say(NR, "a guard is closed once too often before >>" section)
    for (k = 1; k <= lead; k++) {
        if_line[1 + k] = if_line[depth - lead + k]
        if_cpp[1 + k] = 0
    }
    depth = 1 + lead
    guard_run = 0
    if (brace) say(NR, "a brace is open where >>" section " begins")
    brace = 0
    accum = ""
}
function directive(s,    word) {
    word = s
    sub(/^#[ ]*/, "", word)
    sub(/[^a-z_].*$/, "", word)
    if (word == "if" || word == "ifdef" || word == "ifndef") {
        if_line[++depth] = NR
        if_cpp[depth] = s ~ /__cplusplus/
        if_brace[depth] = brace
        if_accum[depth] = accum
    } else if (word == "endif") {
        if (!depth) say(NR, "#endif without #if")
        else depth--
    } else if (word == "else" || word == "elif") {
        if (!depth) say(NR, "#" word " without #if")
        else { brace = if_brace[depth]; accum = if_accum[depth]; if_cpp[depth] = 0 }
    } else if (word == "define") {
        sub(/^#[ ]*define[ ]+/, "", s)
        sub(/[^A-Za-z0-9_].*$/, "", s)
        if (s !~ /^(drli?_|DRL_|DRLI_|DRLDEF$|DIFFRL_|_[A-Z0-9_]+_SOURCE$)/)
            say(NR, "macro " s " has no prefix DRL_, DRLI_, drl_, drli_ or DIFFRL_")
    } else if (word == "include" && part == "api") {
        if (s !~ /<(stddef|stdint)\.h>/)
            say(NR, "the API part may include only <stddef.h> and <stdint.h>")
    } else if (word == "pragma") {
        if (s ~ /push/) push_line[++pushes] = NR
        if (s ~ /pop/ && --pushes < 0) { say(NR, "pop pragma without push"); pushes = 0 }
    }
}

# -- declarations at file scope ---------------------------------------------------------------
function declared(end,    s, fn, type, doc) {
    s = trim(accum)
    accum = ""
    if (s == "") return
    gsub(/__attribute__ *\(\([^()]*(\([^()]*\))*[^()]*\)\)/, "", s)
    gsub(/__typeof__ *\([^()]*\)/, "", s)
    if (s ~ /^typedef/) {
        type = s
        if (match(type, /\( *\* *[A-Za-z0-9_]+ *\)/)) type = substr(type, RSTART, RLENGTH)
        else sub(/\[.*/, "", type)
        gsub(/[^A-Za-z0-9_]/, " ", type)
        type = trim(type)
        sub(/^.* /, "", type)
        if (type !~ /^drli?_/) say(NR, "type " type " has no prefix drl_ or drli_")
        define(type)
        return
    }
    if (s ~ /=/ || s !~ /[A-Za-z0-9_] *\(/) return
    fn = s
    sub(/ *\(.*/, "", fn)
    sub(/^.*[^A-Za-z0-9_]/, "", fn)
    if (fn ~ /^[A-Z0-9_]+$/) { macro_call(s); end = end == "{" ? "macro" : ""; fn = macro_text }
    else if (end == "{") define(fn)
    if (end == "{" || end == "macro") { function_name = fn; function_start = start }
    if (end != "{" && end != ";") return
    if (fn !~ /^drli?_/) say(start, "function " fn " has no prefix drl_ or drli_")
    if (fn ~ /^drl_/ && part == "api" && s !~ /^DRLDEF/)
        say(start, "public function " fn " without DRLDEF")
    if ((fn ~ /^drli_/ || part != "api") && s ~ /^DRLDEF/)
        say(start, "DRLDEF is for prototypes of public functions; " fn " has it")
    if (end == ";" && part == "api") {
        print fn, start >prototypes
        doc = doc_end == start - 1 || (start == NR && proto_end == start - 1)
        if (!doc) say(start, "prototype of " fn " without a comment directly above")
        if (doc && start == NR) proto_end = NR
    }
}
# DRLI_KERNEL(name, ...) and its like: taken to define drl_name and drli_name. DRL_ALGO_API(name)
# holds three prototypes.
function macro_call(s,    name) {
    macro_text = trim(s)
    name = s
    sub(/^[^(]*\( */, "", name)
    sub(/[^A-Za-z0-9_].*/, "", name)
    define("drl_" name)
    define("drli_" name)
    if (s !~ /DRL_ALGO_API/) return
    if (doc_end != start - 1) say(start, "DRL_ALGO_API without a comment directly above")
    print "drl_" name "_config_default", start >prototypes
    print "drl_" name "_algo", start >prototypes
    print "drl_" name "_init", start >prototypes
}
function define(what) {
    if (!(what in def_line)) { def_line[what] = NR; def_tag[what] = section }
}
function code(s,    c, before) {
    if (depth && if_cpp[depth]) return # extern "C" { and its end
    while (match(s, /[{};]/)) {
        c = substr(s, RSTART, 1)
        before = substr(s, 1, RSTART - 1)
        s = substr(s, RSTART + 1)
        if (!brace) {
            if (trim(accum) == "" && trim(before) != "") start = NR
            accum = accum " " before
        }
        if (c == "{") {
            if (!brace) {
                function_start = 0
                if (trim(accum) == "" && macro_start) {
                    function_start = macro_start
                    function_name = macro_text
                } else if (accum !~ /^ *typedef|^ *(struct|enum|union)[^(]*$/) declared("{")
                macro_start = 0
            }
            brace++
        } else if (c == "}") {
            if (brace) brace--
            if (!brace && function_start) {
                if (NR - function_start >= 60 && section != "kernels")
                    say(function_start, "function " function_name " has " \
                        NR - function_start + 1 " lines, more than 60")
                function_start = 0
                accum = ""
            }
        } else if (!brace) declared(";")
    }
    if (brace) return
    if (trim(accum) == "" && trim(s) != "") start = NR
    accum = accum " " s
    # a macro call on lines of its own: a whole definition, or the head of one
    if (accum ~ /^ *[A-Z][A-Z0-9_]* *\(/) {
        c = accum
        if (gsub(/\(/, "", c) == gsub(/\)/, "", c)) {
            macro_call(accum)
            macro_start = start
            accum = ""
        }
    } else if (trim(accum) != "") macro_start = 0
}
function uses(s,    word, before) {
    while (match(s, /drli?_[A-Za-z0-9_]+/)) {
        word = substr(s, RSTART, RLENGTH)
        before = substr(s, 1, RSTART - 1)
        s = substr(s, RSTART + RLENGTH)
        if (before ~ /[A-Za-z0-9_#]$/ || before ~ /(struct|union|enum) +$/) continue
        if (!((word, section) in use_line)) {
            use_line[word, section] = NR
            use_word[++n_uses] = word
            use_tag[n_uses] = section
        }
    }
}

BEGIN {
    part = "api"
    title["api"] = "API part"
    title["impl"] = "implementation part"
    opening = 1
}
{
    bytes += length($0) + 1
    if (length($0) > 100) say(NR, "line has " length($0) " columns, more than 100")
    if ($0 ~ /\t/) say(NR, "tab")
    if ($0 ~ /[ \t\r]$/) say(NR, "space at the end of the line")
    if ($0 ~ /[^\t\r -~]/) say(NR, "character that is not ASCII")
    if (NR == 10001) say(NR, "more than 10,000 lines")
    if (bytes > 358400 && bytes - length($0) - 1 <= 358400) say(NR, "more than 350 KiB")
    line = $0
    was_comment = in_comment
    is_banner = !was_comment && line ~ /^\/\* =+ *>>/
    text = strip(line)
}
NR == 1 && !in_comment { say(1, "the file does not start with the opening comment"); opening = 0 }
opening {
    if (line ~ /CONTENTS/) contents = NR
    if (contents && match(line, /^ *(CONTENTS)? *>>[a-z0-9_]+/)) {
        tag = substr(line, RSTART, RLENGTH)
        sub(/.*>>/, "", tag)
        add_tag(tag, NR, trim(line))
    }
    if (!in_comment) {
        opening = 0
        if (NR > 180) say(NR, "opening comment has " NR " lines, more than 180")
    }
    next
}
line ~ /^#if defined\(DIFFRL_IMPLEMENTATION\) && !defined\(DIFFRL_IMPLEMENTATION_DONE\)/ {
    part = "impl"
    section = ""
    implementation = NR
}
is_banner {
    if (line ~ /^\/\* =+ >>[a-z0-9_]+$/ && index(line, " >>") == 10) {
        sub(/.*>>/, "", line)
        banner(line)
        section_guards()
    } else say(NR, "banner is not of the form `/* ====== >>tag`")
}
# which comment ends on this line: one that began at column 1 and is no banner is a document
{
    if (!was_comment && $0 ~ /^\/\*/) comment_is_doc = !is_banner
    else if (!was_comment && $0 ~ /\/\*/) comment_is_doc = 0
    if (!in_comment && comment_is_doc && $0 ~ /\*\/$/ && text ~ /^ *$/) doc_end = NR
}
text ~ /^ *#/ || continued {
    if (!continued) {
        if (text ~ /^ *#[ ]*(ifndef DIFFRL_NO_|if !defined\(DIFFRL_NO_)/) guard_run++
        else guard_run = 0
        directive(trim(text))
    }
    continued = $0 ~ /\\$/
    if (part == "impl") uses(text)
    next
}
{
    if (text !~ /^ *$/) guard_run = 0
    if (part == "impl") uses(text)
    code(text)
}
END {
    for (k = 1; k <= depth; k++) say(if_line[k], "guard is never closed")
    for (k = 1; k <= pushes; k++) say(push_line[k], "push pragma without pop")
    if (opening) say(NR, "the opening comment never ends")
    if (!contents) say(1, "no CONTENTS in the opening comment")
    if (!implementation)
        say(NR, "no `#if defined(DIFFRL_IMPLEMENTATION) && !defined(DIFFRL_IMPLEMENTATION_DONE)`")
    for (k = 1; k <= tags; k++) {
        if (only[k] != "impl" && !(("api", tag_of[k]) in seen))
            say(toc_line[k], ">>" tag_of[k] " has no banner in the API part (else mark it [impl])")
        if (only[k] != "api" && !(("impl", tag_of[k]) in seen))
            say(toc_line[k], ">>" tag_of[k] " has no banner in the implementation part" \
                " (else mark it [api])")
    }
    for (k = 1; k <= n_uses; k++) {
        w = use_word[k]
        if (!(w in def_tag) || !(use_tag[k] in toc) || !(def_tag[w] in toc)) continue
        if (toc[use_tag[k]] < toc[def_tag[w]])
            say(use_line[w, use_tag[k]], ">>" use_tag[k] " uses " w ", which >>" def_tag[w] \
                " defines later, in line " def_line[w])
    }
}
