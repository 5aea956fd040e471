# read.awk
#	Reads the declarations of endpoints, *.def, for table.awk, functions.awk and docs.awk, which make of them the
#	table in C, the functions in SQL, and docs/endpoints.md.
#
# awk, since whoever can build an extension has it: it is POSIX, as make and sed are; PGXS demands no perl. The
# preprocessor could make the table from macros, but no SQL, and its messages name no line of a declaration. It is
# the awk of POSIX: mawk knows no {n} in patterns, and others lack gensub().
#
# A declaration is a head at the beginning of a line and indented lines below it. "#" begins a line for whoever
# reads the declarations; "--", as in SQL, what the user reads.
#
#	subject Leads                            the heading of what follows
#
#	type lead                                the row type smartlead_lead; a column "extra" is added at its end
#		-- a lead of the workspace
#		id      bigint
#		status  text, from lead_status       -- Smartlead's field of another name
#		clauses: "--" is null | with the fields of FIELD | ids COLUMN, COLUMN
#
#	action pause_lead                        the function smartlead_pause_lead, and the queue's action "pause_lead"
#		-- pauses a lead in a campaign
#		POST /campaigns/{campaign_id}/leads/{lead_id}/pause
#		campaign_id  bigint                  an argument, as SQL knows it; what is in the path is required
#		status       text, required, one of START PAUSED   -- what the argument means
#		repeatable
#		known from documentation, cli
#
# The heads:
#	action NAME [returns TYPE] [by FUNCTION]   changes something. Returns boolean; bigint: how many things it did;
#	                                           jsonb: the answer as it is; or a row, by a C function of its own
#	lookup NAME returns TYPE                   one row or none; jsonb: the answer as it is
#	listing NAME returns TYPE                  rows; has an argument max_rows
#	internal action NAME                       for the extension itself: no function
#	left out METHOD PATH                       a route that there is no function for; "--" says why
#
# An argument goes into the path where that names it, else into the query of a GET and into the body of others.
# Its clauses, each after a comma:
#	required             must be given, and not be NULL
#	in the query         although it is no GET
#	sent as WORD         Smartlead's word where ours is another one; OBJECT.WORD: in an object of the body
#	or sent as WORD      a second spelling, tried when the first is refused
#	as a list of one     it is sent as [it]
#	N a request          of a list, as many elements at most; more requests are made of a longer one
#	one of WORD WORD     of a text: others are refused before anything is sent; WORD=SENT: what is sent for it
#	LOW..HIGH            of a number: the same; also LOW.. and ..HIGH
#	an array             of a jsonb, which else must be an object
#	read by FUNCTION     of C: what a text is sent as; it throws for what can't be
#	not sent             an argument from which another one is found out
#	found out            no argument: found out from others, by the endpoint's "completed by"
#
# The clauses of an endpoint, several a line with commas:
#	repeatable | not repeatable   may it be sent again when the outcome is in doubt? Each says so that is no GET
#	urgent                        in the queue it goes first: it keeps mail from people
#	makes an id                   of what it makes, which its answer holds
#	needs a change                at least one argument in the body must be given
#	counts FIELD                  of the answer: how many things it did, for "returns bigint"
#	about N rows                  what the planner expects of a listing
#	pages of N                    of a listing; and
#	rows told apart by FIELD      how
#	without max_rows              of a listing: it is short
#	has passwords                 in its answers, which are dropped
#	for administrators            smartlead_admin may call it, smartlead_user may not
# and these, a line each:
#	completed by VARIABLE [after METHOD PATH]   of C, an SlCompletion; and what it asks
#	also sends JSON               members of the body besides the arguments
#	known from SOURCE, SOURCE     documentation (the vendor's), reference (its former one), cli, mcp (its own
#	                              programs), clients (programs of others that are in use)
#	in doubt: TEXT                what speaks against it
#	costs TEXT                    the price of what is bought: for administrators, and not repeatable
#	at SERVICE                    smart delivery, smart senders, smart prospect, smart servers: not at base_url

BEGIN {
	n_endpoints = n_types = n_left_out = n_subjects = faults = 0
	block = ""
	TYPES = " bigint integer numeric text boolean timestamptz date jsonb bigint[] integer[] text[] "
	COLUMN_TYPES = " bigint integer numeric text boolean timestamptz jsonb bigint[] text[] "
	SERVICES = ",smart delivery,smart senders,smart prospect,smart servers,"
	SOURCES = " documentation reference cli mcp clients "
}

function fault(text) {
	printf "%s:%d: error: %s\n", FILENAME, FNR, text | "cat 1>&2"
	faults++
}

# A fault that shows only once the whole of it is read, at its head.
function fault_at(place, text) {
	printf "%s: error: %s\n", place, text | "cat 1>&2"
	faults++
}

function is_name(word) { return word ~ /^[a-z][a-z0-9_]*$/ }
function is_among(word, list) { return index(list, " " word " ") > 0 }
function is_type(word, types) { sub(/,$/, "", word); return is_among(word, types) }
function is_method(word) { return word ~ /^(GET|POST|PUT|PATCH|DELETE)$/ }
function rest_after(text, words) { return substr(text, length(words) + 2) }
function begins(text, words) { return index(text, words " ") == 1 }
function trimmed(text) { sub(/^[ \t]+/, "", text); sub(/[ \t]+$/, "", text); return text }

{ sub(/[ \t\r]+$/, "") }
/^[ \t]*(#|$)/ { next }
/^[^ \t]/ { read_head($0); next }
block == "" { fault("a line that belongs to nothing"); next }
{ read_line(trimmed($0)) }

# ---- heads ----

function read_head(text,    words, n) {
	n = split(text, words, /[ \t]+/)
	block = "skip"
	if (words[1] == "subject" && n > 1) {
		subject_name[++n_subjects] = rest_after(text, "subject")
		subject_comment[n_subjects] = ""
		block = "subject"
	} else if (n_subjects == 0)
		fault("a file begins with its subject")
	else if (words[1] == "type" && n == 2 && is_name(words[2]))
		begin_type(words[2])
	else if (words[1] == "left" && words[2] == "out" && n == 4 && is_method(words[3])) {
		block = "left out"
		left_out_route[++n_left_out] = words[3] " " words[4]
		left_out_subject[n_left_out] = n_subjects
		left_out_comment[n_left_out] = ""
	} else if (words[1] == "internal" && words[2] == "action" && n == 3)
		begin_endpoint("action", words, 3, n, 1)
	else if (words[1] ~ /^(action|lookup|listing)$/)
		begin_endpoint(words[1], words, 2, n, 0)
	else
		fault("no declaration begins with \"" text "\": subject, type, action, lookup, listing, internal action, left out")
}

function begin_type(name) {
	if (name in type_number)
		fault("type " name " is declared twice")
	block = "type"
	t = ++n_types
	type_number[name] = t
	type_name[t] = name
	type_place[t] = FILENAME ":" FNR
	type_subject[t] = n_subjects
	type_comment[t] = type_dashes[t] = type_nested[t] = type_ids[t] = ""
	n_columns[t] = n_aliases[t] = 0
}

function begin_endpoint(kind, words, at, n, internal,    name) {
	name = words[at]
	if (!is_name(name)) {
		fault("\"" name "\" is no name")
		return
	}
	block = "endpoint"
	e = ++n_endpoints
	kind_of[e] = kind
	name_of[e] = name
	internal_of[e] = internal
	subject_of[e] = n_subjects
	file_of[e] = FILENAME
	line_of[e] = FNR
	n_params[e] = 0
	returns[e] = kind == "action" ? "boolean" : ""
	symbol_of[e] = "smartlead_" kind
	comment_of[e] = method_of[e] = path_of[e] = ""
	for (at++; at < n; at += 2)
		if (words[at] == "returns")
			returns[e] = words[at + 1]
		else if (words[at] == "by")
			symbol_of[e] = words[at + 1]
		else
			break
	if (at <= n)
		fault("\"" words[at] "\" after the name: returns TYPE, by FUNCTION")
	if (returns[e] == "jsonb")
		symbol_of[e] = "smartlead_answer"
}

# ---- what is below a head ----

function read_line(text,    words, n) {
	n = split(text, words, /[ \t]+/)
	if (words[1] == "--")
		add_comment(trimmed(substr(text, 3)))
	else if (block == "type" && n > 1 && is_name(words[1]) && is_type(words[2], COLUMN_TYPES))
		read_column(text)
	else if (block == "type")
		read_type_clause(text)
	else if (block == "endpoint" && n == 2 && is_method(words[1]))
		read_route(words[1], words[2])
	else if (block == "endpoint" && n > 1 && is_name(words[1]) && is_type(words[2], TYPES))
		read_param(text)
	else if (block == "endpoint")
		read_endpoint_line(text)
	else if (block == "left out" && begins(text, "known from"))
		left_out_known[n_left_out] = read_sources(rest_after(text, "known from"))
	else if (block != "skip")
		fault("\"" text "\" does not belong here")
}

function add_comment(text) {
	if (block == "type")
		type_comment[t] = joined(type_comment[t], text)
	else if (block == "endpoint")
		comment_of[e] = joined(comment_of[e], text)
	else if (block == "left out")
		left_out_comment[n_left_out] = joined(left_out_comment[n_left_out], text)
	else if (block == "subject")
		subject_comment[n_subjects] = joined(subject_comment[n_subjects], text)
}

function joined(before, text) { return before == "" ? text : before " " text }

# Splits "NAME TYPE, CLAUSE, CLAUSE -- COMMENT" into the globals of these names. Returns how many clauses.
function split_member(text,    at, n) {
	member_comment = ""
	if ((at = index(text, " -- ")) > 0) {
		member_comment = trimmed(substr(text, at + 4))
		text = trimmed(substr(text, 1, at))
	}
	n = split(text, clauses, /,[ \t]*/)
	if (split(clauses[1], member, /[ \t]+/) != 2)
		fault("\"" clauses[1] "\": NAME TYPE is followed by a comma")
	return n
}

function read_column(text,    n, i, c) {
	n = split_member(text)
	c = ++n_columns[t]
	column_name[t, c] = member[1]
	column_type[t, c] = member[2]
	column_comment[t, c] = member_comment
	for (i = 2; i <= n; i++)
		if (begins(clauses[i], "from")) {
			alias_field[t, ++n_aliases[t]] = rest_after(clauses[i], "from")
			alias_column[t, n_aliases[t]] = member[1]
		} else
			fault("a column has no clause \"" clauses[i] "\": from FIELD")
}

function read_type_clause(text) {
	if (text == "\"--\" is null")
		type_dashes[t] = 1
	else if (begins(text, "with the fields of"))
		type_nested[t] = rest_after(text, "with the fields of")
	else if (begins(text, "ids"))
		type_ids[t] = rest_after(text, "ids")
	else
		fault("\"" text "\" is neither a column, \"NAME TYPE\", nor a clause of a type: \"--\" is null | with the fields of FIELD | ids COLUMN, COLUMN. The types are" COLUMN_TYPES)
}

function read_route(method, path) {
	if (method_of[e] != "")
		fault("a second route")
	method_of[e] = method
	path_of[e] = path
}

# ---- arguments ----

function read_param(text,    n, i, p) {
	if (method_of[e] == "")
		fault("the route comes before the arguments")
	n = split_member(text)
	for (i = 1; i <= n_params[e]; i++)
		if (param_name[e, i] == member[1])
			fault("argument " member[1] " is there twice")
	p = ++n_params[e]
	param_name[e, p] = member[1]
	param_type[e, p] = member[2]
	param_comment[e, p] = member_comment
	param_line[e, p] = FNR
	param_place[e, p] = method_of[e] == "GET" ? "query" : "body"
	if (index(path_of[e], "{" member[1] "}") > 0) {
		param_place[e, p] = "path"
		param_required[e, p] = 1
	}
	for (i = 2; i <= n; i++)
		if (!read_param_clause(clauses[i], p))
			fault("an argument of type " param_type[e, p] " has no clause \"" clauses[i] "\"; read.awk lists them")
	if (param_place[e, p] == "query" && param_type[e, p] ~ /^jsonb$|\[\]$/)
		fault("a " param_type[e, p] " can't go into a query")
}

function read_param_clause(clause, p,    words, n, type, i) {
	n = split(clause, words, / +/)
	type = param_type[e, p]
	sub(/\[\]$/, "", type)
	if (clause == "required")
		param_required[e, p] = 1
	else if (clause == "in the query")
		param_place[e, p] = "query"
	else if (clause == "not sent")
		param_place[e, p] = "not sent"
	else if (clause == "found out") {
		param_found_out[e, p] = 1
		param_required[e, p] = 0
	} else if (clause == "as a list of one" && param_type[e, p] ~ /^(bigint|text)$/)
		param_listed[e, p] = 1
	else if (clause == "an array" && type == "jsonb")
		param_array[e, p] = 1
	else if (begins(clause, "one of") && n > 2 && type == "text")
		param_values[e, p] = rest_after(clause, "one of")
	else if (clause ~ /^-?[0-9]*\.\.-?[0-9]*$/ && clause ~ /[0-9]/ && type ~ /^(bigint|integer|numeric)$/) {
		i = index(clause, "..")
		param_low[e, p] = substr(clause, 1, i - 1)
		param_high[e, p] = substr(clause, i + 2)
	} else if (begins(clause, "sent as") && n == 3)
		param_wire[e, p] = words[3]
	else if (begins(clause, "or sent as") && n == 4)
		param_alternative[e, p] = words[4]
	else if (begins(clause, "read by") && n == 3)
		param_read[e, p] = words[3]
	else if (clause ~ /^[0-9]+ a request$/ && param_type[e, p] ~ /\[\]$/)
		param_most[e, p] = words[1]
	else
		return 0
	return 1
}

# ---- the clauses of an endpoint ----

function read_endpoint_line(text,    n, i, list) {
	if (begins(text, "completed by")) {
		completed_by[e] = rest_after(text, "completed by")
		if ((i = index(completed_by[e], " after ")) > 0) {
			completed_after[e] = substr(completed_by[e], i + 7)
			completed_by[e] = substr(completed_by[e], 1, i - 1)
		}
	} else if (begins(text, "also sends"))
		fixed_body[e] = rest_after(text, "also sends")
	else if (begins(text, "known from"))
		known_from[e] = read_sources(rest_after(text, "known from"))
	else if (begins(text, "costs")) {
		costs[e] = rest_after(text, "costs")
		administrators[e] = 1
	} else if (begins(text, "at") && index(SERVICES, "," rest_after(text, "at") ",") > 0)
		host_of[e] = rest_after(text, "at")
	else if (begins(text, "in doubt:"))
		doubt_of[e] = rest_after(text, "in doubt:")
	else {
		n = split(text, list, /,[ \t]*/)
		for (i = 1; i <= n; i++)
			if (!read_endpoint_clause(list[i]))
				fault("\"" list[i] "\" is neither an argument, \"NAME TYPE\", nor a clause of an endpoint; read.awk lists them. The types are" TYPES)
	}
}

function read_endpoint_clause(clause,    words, n) {
	n = split(clause, words, / +/)
	if (clause ~ /^(not )?repeatable$/)
		repeatable[e] = n == 1 ? "yes" : "no"
	else if (clause == "urgent")
		urgent[e] = 1
	else if (clause == "makes an id")
		makes_an_id[e] = 1
	else if (clause == "needs a change")
		needs_a_change[e] = 1
	else if (clause == "has passwords")
		has_passwords[e] = 1
	else if (clause == "for administrators")
		administrators[e] = 1
	else if (begins(clause, "counts") && n == 2)
		count_field[e] = words[2]
	else if (kind_of[e] != "listing")
		return 0
	else if (clause == "without max_rows")
		without_max_rows[e] = 1
	else if (clause ~ /^about [0-9]+ rows$/)
		rows_expected[e] = words[2]
	else if (clause ~ /^pages of [0-9]+$/)
		page_size[e] = words[3]
	else if (begins(clause, "rows told apart by") && n == 5)
		row_id[e] = words[5]
	else
		return 0
	return 1
}

function read_sources(text,    list, n, i) {
	n = split(text, list, /,[ \t]*/)
	for (i = 1; i <= n; i++)
		if (!is_among(list[i], SOURCES))
			fault("no source \"" list[i] "\": the sources are" SOURCES)
	return text
}

# ---- what must hold of a whole declaration ----

function check_type(i) {
	if (type_comment[i] == "")
		fault_at(type_place[i], "type " type_name[i] " has no comment")
	if (n_columns[i] == 0)
		fault_at(type_place[i], "type " type_name[i] " has no columns")
}

function check_path(i,    path, name, p, found) {
	path = path_of[i]
	while (match(path, /[{][a-z0-9_]+[}]/)) {
		name = substr(path, RSTART + 1, RLENGTH - 2)
		path = substr(path, RSTART + RLENGTH)
		found = 0
		for (p = 1; p <= n_params[i]; p++)
			found = found || param_name[i, p] == name
		if (!found)
			fault_at(place_of(i), "the path names {" name "}, which is no argument")
	}
	if (path ~ /[{}]/)
		fault_at(place_of(i), "{names} in a path are arguments")
}

# A required argument after one that isn't would have no place in SQL.
function check_params(i,    p, optional) {
	optional = ""
	for (p = 1; p <= n_params[i]; p++) {
		if (param_found_out[i, p]) {
			if (!completed_by[i])
				fault_at(file_of[i] ":" param_line[i, p], "what is found out needs a \"completed by\"")
		} else if (!param_required[i, p])
			optional = param_name[i, p]
		else if (optional != "" && !internal_of[i])
			fault_at(file_of[i] ":" param_line[i, p], "argument " param_name[i, p] " is required, and comes after " optional ", which isn't")
	}
}

# The types that SQL tells functions of one name apart by.
function sql_types(i,    p, list) {
	list = ""
	for (p = 1; p <= n_params[i]; p++)
		if (!param_found_out[i, p])
			list = list param_type[i, p] ", "
	return list (kind_of[i] == "listing" && !without_max_rows[i] ? "bigint, " : "") "name"
}

function place_of(i) { return file_of[i] ":" line_of[i] }

function check_endpoint(i,    key) {
	if (method_of[i] == "") {
		fault_at(place_of(i), name_of[i] " has no route")
		return
	}
	if (comment_of[i] == "" && !internal_of[i])
		fault_at(place_of(i), name_of[i] " has no comment")
	if (method_of[i] == "GET" && !repeatable[i])
		repeatable[i] = "yes"
	if (!repeatable[i])
		fault_at(place_of(i), name_of[i] " must say whether it is repeatable")
	if (!known_from[i])
		fault_at(place_of(i), name_of[i] " must say what it is known from")
	if (costs[i] && repeatable[i] == "yes")
		fault_at(place_of(i), name_of[i] " costs something, and is repeatable")
	if (returns[i] !~ /^(boolean|bigint|jsonb)$/ && !(returns[i] in type_number))
		fault_at(place_of(i), name_of[i] " returns \"" returns[i] "\", which is no type that is declared")
	if (returns[i] == "jsonb" ? kind_of[i] == "listing" : (returns[i] in type_number) == (symbol_of[i] == "smartlead_action"))
		fault_at(place_of(i), name_of[i] (kind_of[i] == "action" ? " returns boolean or bigint, or a row by a function of its own" : " returns rows"))
	if ((returns[i] == "bigint") != (count_field[i] != ""))
		fault_at(place_of(i), name_of[i] ": \"returns bigint\" and \"counts FIELD\" go together")
	if ((page_size[i] != "") != (row_id[i] != ""))
		fault_at(place_of(i), name_of[i] ": \"pages of N\" and \"rows told apart by FIELD\" go together")
	if (page_size[i] != "" && method_of[i] != "GET")
		fault_at(place_of(i), name_of[i] ": pages are asked for in the query of a GET")
	check_path(i)
	check_params(i)
	key = name_of[i] "(" sql_types(i) ")"
	if (!internal_of[i] && key in declared_at)
		fault_at(place_of(i), key " is declared before, at " declared_at[key])
	declared_at[key] = place_of(i)
}

# To be called first in the END of whatever makes something.
function check_all(    i) {
	for (i = 1; i <= n_types; i++)
		check_type(i)
	for (i = 1; i <= n_endpoints; i++)
		check_endpoint(i)
	if (faults > 0) {
		close("cat 1>&2")
		exit 1
	}
}
