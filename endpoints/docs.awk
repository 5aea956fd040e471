# docs.awk
#	Makes docs/endpoints.md: every route that has a function, and those that have none.

END {
	check_all()
	print_beginning()
	for (s = 1; s <= n_subjects; s++)
		print_subject(s)
	print_left_out()
}

function print_beginning() {
	print "# Endpoints\n"
	print "What is asked of Smartlead by each function, and the rows that come back. Made of the declarations in `endpoints/` by `make docs`: change those."
	print "[functions.md](functions.md) tells what the functions have in common. They take a last argument `connection name DEFAULT NULL` besides; an argument"
	print "that is not required is `DEFAULT NULL`, and is not sent then. The view `smartlead_endpoints` has the same for SQL.\n"
	print "A route is known from Smartlead's *documentation*, from its former API *reference*, from its own programs *cli* and *mcp*, or from *clients* of others"
	print "that are in use. What is *sent again in doubt* may be done twice without harm: after a time-out, say. What is not ends as `SL520` instead."
}

function sentence(text) { return toupper(substr(text, 1, 1)) substr(text, 2) }

function cell(text) {
	gsub(/[|]/, "\\|", text)
	gsub(/</, "\\&lt;", text)
	return text
}

function print_subject(s,    t, e) {
	printf "\n## %s\n", subject_name[s]
	if (subject_comment[s] != "")
		printf "\n%s\n", sentence(subject_comment[s])
	for (e = 1; e <= n_endpoints; e++)
		if (subject_of[e] == s && !internal_of[e])
			print_endpoint(e)
	for (t = 1; t <= n_types; t++)
		if (type_subject[t] == s)
			print_type(t)
}

function print_endpoint(e,    p, told) {
	printf "\n### smartlead_%s\n\n`%s %s` → %s\n\n%s\n", name_of[e], method_of[e], path_of[e], result_of(e), sentence(comment_of[e])
	for (p = 1; p <= n_params[e]; p++)
		if (!param_found_out[e, p]) {
			if (!told++)
				print "\n| argument | type | sent | |\n|---|---|---|---|"
			printf "| `%s` | %s | %s | %s |\n", param_name[e, p], param_type[e, p] (param_required[e, p] ? ", required" : ""), sent(e, p), cell(about_param(e, p))
		}
	printf "\n%s\n", facts(e)
}

function result_of(e) {
	return (kind_of[e] == "action" || returns[e] == "jsonb" ? "" : kind_of[e] == "lookup" ? "one row or none of " : "rows of ") (returns[e] in type_number ? "`smartlead_" returns[e] "`" : returns[e])
}

function sent(e, p,    wire) {
	if (param_place[e, p] == "not sent")
		return "–"
	if (param_place[e, p] == "path")
		return "in the path"
	wire = param_wire[e, p] != "" ? param_wire[e, p] : param_name[e, p]
	return "in the " param_place[e, p] (param_wire[e, p] != "" ? " as `" wire "`" : "") (param_alternative[e, p] != "" ? ", or as `" param_alternative[e, p] "`" : "")
}

function about_param(e, p,    text) {
	text = ""
	if (param_values[e, p] != "")
		text = "One of " listed(param_values[e, p]) "."
	if (param_low[e, p] param_high[e, p] != "")
		text = joined(text, range(param_low[e, p], param_high[e, p]))
	if (param_array[e, p])
		text = joined(text, "A JSON array.")
	if (param_comment[e, p] != "")
		text = joined(text, sentence(param_comment[e, p]) ".")
	if (param_most[e, p] != "")
		text = joined(text, "As many as " param_most[e, p] " a request; more requests are made of a longer list.")
	return text
}

# "ACTIVE=START PAUSED" as "`ACTIVE` (sent as `START`), `PAUSED`"
function listed(text,    words, n, i, at, list) {
	n = split(text, words, / +/)
	for (i = 1; i <= n; i++) {
		at = index(words[i], "=")
		list = list (i > 1 ? ", " : "") (at ? "`" substr(words[i], 1, at - 1) "` (sent as `" substr(words[i], at + 1) "`)" : "`" words[i] "`")
	}
	return list
}

function range(low, high) {
	return low == "" ? "At most " high "." : high == "" ? "At least " low "." : "From " low " to " high "."
}

function facts(e,    text) {
	text = ""
	if (host_of[e])
		text = "At " service(host_of[e]) "."
	if (costs[e])
		text = joined(text, "**Costs " costs[e] ".**")
	if (administrators[e])
		text = joined(text, "For `smartlead_admin`.")
	if (method_of[e] != "GET")
		text = joined(text, repeatable[e] == "yes" ? "Sent again in doubt." : "Not sent again in doubt.")
	if (urgent[e])
		text = joined(text, "Goes first in the queue.")
	if (page_size[e])
		text = joined(text, "Pages of " page_size[e] ".")
	if (fixed_body[e] != "")
		text = joined(text, "Sends `" fixed_body[e] "` besides.")
	if (completed_after[e])
		text = joined(text, "Asks `" completed_after[e] "` before.")
	text = joined(text, "Known from: " known_from[e] ".")
	if (doubt_of[e] != "")
		text = joined(text, "In doubt: " doubt_of[e] ".")
	return text
}

# "smart senders" as "Smart Senders, at smart_senders_url"
function service(host,    option, at) {
	option = host
	sub(/ /, "_", option)
	at = index(host, " ")
	return sentence(substr(host, 1, at)) sentence(substr(host, at + 1)) ", at `" option "_url`"
}

function print_type(t,    c) {
	printf "\n### The type smartlead_%s\n\n%s.\n\n| column | type | |\n|---|---|---|\n", type_name[t], sentence(type_comment[t])
	for (c = 1; c <= n_columns[t]; c++)
		printf "| `%s` | %s | %s |\n", column_name[t, c], column_type[t, c], cell(sentence(column_comment[t, c]))
	print "| `extra` | jsonb | Fields without a column |"
}

function print_left_out(    i) {
	if (n_left_out > 0)
		print "\n## Routes without a function\n\n| route | why | known from |\n|---|---|---|"
	for (i = 1; i <= n_left_out; i++)
		printf "| `%s` | %s | %s |\n", left_out_route[i], cell(sentence(left_out_comment[i])), left_out_known[i]
}
