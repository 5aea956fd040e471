# functions.awk
#	Makes the SQL of the endpoints: their row types and functions, with comments and grants.

END {
	check_all()
	print "/* The endpoints' types and functions: made from endpoints/, don't edit. */"
	for (t = 1; t <= n_types; t++)
		print_type(t)
	for (e = 1; e <= n_endpoints; e++)
		if (!internal_of[e])
			print_function(e)
}

function literal(text) {
	gsub(/'/, "''", text)
	return "'" text "'"
}

function print_type(t,    c, name) {
	name = "@extschema@.smartlead_" type_name[t]
	printf "\nCREATE TYPE %s AS (\n", name
	for (c = 1; c <= n_columns[t]; c++)
		printf "\t%s %s,\n", column_name[t, c], column_type[t, c]
	printf "\textra jsonb\n);\n\nCOMMENT ON TYPE %s IS %s;\n", name, literal(type_comment[t])
	for (c = 1; c <= n_columns[t]; c++)
		if (column_comment[t, c] != "")
			printf "COMMENT ON COLUMN %s.%s IS %s;\n", name, column_name[t, c], literal(column_comment[t, c])
}

function sql_result(e) {
	return (kind_of[e] == "action" || returns[e] == "jsonb" ? "" : "SETOF ") (returns[e] in type_number ? "@extschema@.smartlead_" : "") returns[e]
}

function print_function(e,    p, name, rows, signature) {
	name = "@extschema@.smartlead_" name_of[e]
	signature = name "(" sql_types(e) ")"
	rows = kind_of[e] == "listing" ? rows_expected[e] : kind_of[e] == "lookup" && returns[e] != "jsonb" ? 1 : ""
	printf "\nCREATE FUNCTION %s(\n", name
	for (p = 1; p <= n_params[e]; p++)
		if (!param_found_out[e, p])
			printf "\t%s %s%s,\n", param_name[e, p], param_type[e, p], param_required[e, p] ? "" : " DEFAULT NULL"
	if (kind_of[e] == "listing" && !without_max_rows[e])
		print "\tmax_rows bigint DEFAULT NULL,"
	printf "\tconnection name DEFAULT NULL)\nRETURNS %s\n", sql_result(e)
	printf "AS 'MODULE_PATHNAME', '%s' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000%s;\n\n", symbol_of[e], rows ? " ROWS " rows : ""
	printf "COMMENT ON FUNCTION %s IS\n%s;\n", signature, literal(comment_of[e] (costs[e] ? " It costs " costs[e] "." : "") " (" (completed_after[e] ? completed_after[e] ", then " : "") method_of[e] " " path_of[e] ")")
	printf "REVOKE ALL ON FUNCTION %s FROM PUBLIC;\n", signature
	printf "GRANT EXECUTE ON FUNCTION %s TO %s;\n", signature, administrators[e] ? "smartlead_admin" : "smartlead_user"
}
