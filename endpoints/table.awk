# table.awk
#	Makes the endpoint table in C, which src/api/endpoints.c includes. #line leads the compiler's messages to the
#	declarations.

END {
	check_all()
	print "/* Made from endpoints/: don't edit. */"
	for (e = 1; e <= n_endpoints; e++)
		if (shape_of(e) && !printed[shape_of(e)]++)
			print_shape(shape_of(e))
	print "\nconst SlEndpoint sl_endpoints[] = {"
	for (e = 1; e <= n_endpoints; e++)
		print_row(e)
	print "\t{.name = NULL},\n};"
}

function quoted(text) {
	gsub(/[\\"]/, "\\\\&", text)
	return "\"" text "\""
}

# ---- how objects become rows ----

# The type that an endpoint returns, if its objects need more than columns of the fields' names; or 0.
function shape_of(e,    t) {
	t = returns[e] in type_number ? type_number[returns[e]] : 0
	return t && (n_aliases[t] > 0 || type_dashes[t] || type_nested[t] != "" || type_ids[t] != "") ? t : 0
}

function print_shape(t,    i, n, ids) {
	printf "\n"
	if (n_aliases[t] > 0) {
		printf "static const SlFieldAlias %s_aliases[] = {\n", type_name[t]
		for (i = 1; i <= n_aliases[t]; i++)
			printf "\t{%s, %s},\n", quoted(alias_field[t, i]), quoted(alias_column[t, i])
		print "\t{NULL, NULL},\n};"
	}
	if (type_ids[t] != "") {
		n = split(type_ids[t], ids, /,[ \t]*/)
		printf "static const char *const %s_ids[] = {", type_name[t]
		for (i = 1; i <= n; i++)
			printf "%s, ", quoted(ids[i])
		print "NULL};"
	}
	printf "static const SlShape %s_shape = {\n", type_name[t]
	if (type_nested[t] != "")
		printf "\t.nested = %s,\n", quoted(type_nested[t])
	if (n_aliases[t] > 0)
		printf "\t.aliases = %s_aliases,\n", type_name[t]
	if (type_ids[t] != "")
		printf "\t.ids = %s_ids,\n", type_name[t]
	if (type_dashes[t])
		print "\t.dashes_are_null = true,"
	print "};"
}

# ---- rows ----

function flag(name, set) { if (set) printf "\t\t.%s = true,\n", name }
function field(name, value) { if (value != "") printf "\t\t.%s = %s,\n", name, value }
function text_field(name, value) { if (value != "") field(name, quoted(value)) }

function constant(text) {
	gsub(/ /, "_", text)
	return toupper(text)
}

function print_row(e,    p, list, n) {
	printf "#line %d \"%s\"\n\t{\n", line_of[e], file_of[e]
	text_field("name", name_of[e])
	field("kind", "SL_" toupper(kind_of[e]))
	if (host_of[e] != "")
		field("host", "SL_" constant(host_of[e]))
	field("method", "SL_" method_of[e])
	text_field("path", path_of[e])
	flag("internal", internal_of[e])
	flag("administrators", administrators[e])
	text_field("costs", costs[e])
	flag("repeatable", repeatable[e] == "yes")
	flag("urgent", urgent[e])
	flag("makes_an_id", makes_an_id[e])
	flag("needs_a_change", needs_a_change[e])
	flag("has_passwords", has_passwords[e])
	text_field("fixed_body", fixed_body[e])
	field("page_size", page_size[e])
	text_field("row_id", row_id[e])
	text_field("count_field", count_field[e])
	if (shape_of(e))
		field("shape", "&" returns[e] "_shape")
	if (completed_by[e] != "")
		field("completion", "&" completed_by[e])
	text_field("known_from", known_from[e])
	text_field("doubt", doubt_of[e])
	print "\t\t.params = (const SlParam[]){"
	for (p = 1; p <= n_params[e]; p++)
		print_param(e, p)
	print "\t\t\t{NULL},\n\t\t},\n\t},"
}

function print_param(e, p,    place) {
	place = param_place[e, p]
	printf "#line %d \"%s\"\n\t\t\t{%s, %s, %s", param_line[e, p], file_of[e], quoted(param_name[e, p]),
		(place == "not sent" ? "SL_NOT_SENT_ITSELF" : "SL_IN_" toupper(place)), c_type(e, p)
	if (param_required[e, p])
		printf ", .required = true"
	if (param_found_out[e, p])
		printf ", .found_out = true"
	if (param_wire[e, p] != "")
		printf ", .wire = %s", quoted(param_wire[e, p])
	if (param_alternative[e, p] != "")
		printf ", .alternative = %s", quoted(param_alternative[e, p])
	if (param_most[e, p] != "")
		printf ", .max_elements = %d", param_most[e, p]
	if (param_read[e, p] != "")
		printf ", .read = %s", param_read[e, p]
	if (param_values[e, p] != "")
		printf ", .words = %s", words_array(param_values[e, p])
	if (param_low[e, p] param_high[e, p] != "")
		printf ", .bounded = true, .low = %s, .high = %s", bound(param_low[e, p], "PG_INT64_MIN"), bound(param_high[e, p], "PG_INT64_MAX")
	print "},"
}

function bound(number, missing) { return number == "" ? missing : "INT64CONST(" number ")" }

# "ACTIVE=START PAUSED"
function words_array(text,    words, n, i, at, list) {
	n = split(text, words, / +/)
	for (i = 1; i <= n; i++) {
		at = index(words[i], "=")
		list = list "{" quoted(at ? substr(words[i], 1, at - 1) : words[i]) ", " quoted(substr(words[i], at + 1)) "}, "
	}
	return "(const SlWord[]){" list "{NULL}}"
}

# SL_TEXT, SL_TEXTS, SL_TEXT_AS_LIST
function c_type(e, p,    type) {
	type = param_type[e, p]
	if (type == "timestamptz")
		return "SL_TIMESTAMP"
	if (type == "jsonb")
		return param_array[e, p] ? "SL_ARRAY" : "SL_OBJECT"
	if (sub(/\[\]$/, "", type))
		return "SL_" toupper(type) "S"
	return "SL_" toupper(type) (param_listed[e, p] ? "_AS_LIST" : "")
}
