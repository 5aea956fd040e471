# SmartleadObjects: all that an extension consists of in a database, as sorted lines of text that hold no
# numbers of the catalog's own, so that two databases can be compared: what an installation has made and what
# an upgrade has.
#
#	my @lines = extension_objects($node, 'fresh', extension => 'smartlead', with => ['smartlead_events']);
#	is(differences(\@fresh, \@upgraded), '');
#
# with: relations that aren't the extension's own, but that it makes. Roles belong to the cluster, and are not
# listed. Members of a kind that nobody has taught this module are an error, not left out.
package SmartleadObjects;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw(extension_objects differences);

# Each query tells object, property and value. "ours" and "relations" are made below.
my @queries = (
	# What pg_dump is told, and the extension itself
	q{SELECT 'extension', a.property, a.value FROM ext e, LATERAL (VALUES
		('version', e.extversion), ('schema', e.extnamespace::regnamespace::text),
		('relocatable', e.extrelocatable::text), ('comment', obj_description(e.oid, 'pg_extension'))) a (property, value)},
	q{SELECT 'extension', 'rows are dumped of ' || c.relation::regclass, coalesce(nullif(e.extcondition[c.i], ''), 'all')
		FROM ext e, unnest(e.extconfig) WITH ORDINALITY c (relation, i)},

	# Of every member: that it is there, its comment, its owner. Columns are below.
	q{SELECT o.name, 'member', 'yes' FROM ours o WHERE o.member},
	q{SELECT o.name, 'comment', obj_description(o.objid, o.classid::regclass::name) FROM ours o},
	q{SELECT o.name, 'owner', s.refobjid::regrole::text FROM ours o
		JOIN pg_shdepend s ON s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND s.classid = o.classid AND s.objid = o.objid AND s.objsubid = 0 AND s.deptype = 'o'},

	# Who may do what, and what of it pg_dump takes for the extension's own doing
	q{SELECT a.name, 'may', acl_text(coalesce(a.acl, acldefault(a.kind, a.owner))) FROM (
		SELECT o.name, c.relacl, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner FROM ours o JOIN pg_class c ON o.classid = 'pg_class'::regclass AND c.oid = o.objid
		UNION ALL SELECT o.name, p.proacl, 'f', p.proowner FROM ours o JOIN pg_proc p ON o.classid = 'pg_proc'::regclass AND p.oid = o.objid
		UNION ALL SELECT o.name, t.typacl, 'T', t.typowner FROM ours o JOIN pg_type t ON o.classid = 'pg_type'::regclass AND t.oid = o.objid
		UNION ALL SELECT o.name, n.nspacl, 'n', n.nspowner FROM ours o JOIN pg_namespace n ON o.classid = 'pg_namespace'::regclass AND n.oid = o.objid
		UNION ALL SELECT o.name, f.fdwacl, 'F', f.fdwowner FROM ours o JOIN pg_foreign_data_wrapper f ON o.classid = 'pg_foreign_data_wrapper'::regclass AND f.oid = o.objid) a (name, acl, kind, owner)},
	q{SELECT o.name || CASE WHEN i.objsubid > 0 THEN ' column ' || (SELECT attname FROM pg_attribute WHERE attrelid = i.objoid AND attnum = i.objsubid) ELSE '' END,
			'initially may', acl_text(i.initprivs) FROM ours o
		JOIN pg_init_privs i ON i.classoid = o.classid AND i.objoid = o.objid},

	# Tables, views, sequences, composite types
	q{SELECT r.name, a.property, a.value FROM relations r JOIN pg_class c USING (oid), LATERAL (VALUES
		('kind', c.relkind::text), ('persistence', c.relpersistence::text), ('options', c.reloptions::text),
		('toast options', (SELECT reloptions::text FROM pg_class WHERE oid = c.reltoastrelid)),
		('access method', (SELECT amname::text FROM pg_am WHERE oid = c.relam)),
		('row security', c.relrowsecurity::text), ('forced row security', c.relforcerowsecurity::text),
		('replica identity', c.relreplident::text), ('partition key', pg_get_partkeydef(c.oid)),
		('view', CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END)) a (property, value)},
	q{SELECT r.name || ' column ' || t.attname, a.property, a.value
		FROM (SELECT t.*, row_number() OVER (PARTITION BY attrelid ORDER BY attnum) AS place FROM pg_attribute t WHERE attnum > 0 AND NOT attisdropped) t
		JOIN relations r ON r.oid = t.attrelid
		LEFT JOIN pg_attrdef d ON d.adrelid = t.attrelid AND d.adnum = t.attnum, LATERAL (VALUES
		('place', t.place::text), ('type', format_type(t.atttypid, t.atttypmod)), ('not null', t.attnotnull::text),
		('collation', nullif(t.attcollation, 0)::regcollation::text), ('default', pg_get_expr(d.adbin, d.adrelid)),
		('identity', t.attidentity::text), ('generated', t.attgenerated::text), ('storage', t.attstorage::text),
		('compression', to_jsonb(t)->>'attcompression'), ('options', (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(t.attoptions) o WHERE o LIKE 'n\_distinct%')), ('statistics', nullif(t.attstattarget, -1)::text),
		('may', CASE WHEN t.attacl IS NOT NULL THEN acl_text(t.attacl) END), ('comment', col_description(t.attrelid, t.attnum))) a (property, value)},
	q{SELECT r.name, 'index ' || i.indexrelid::regclass, concat_ws(' ', pg_get_indexdef(i.indexrelid), CASE WHEN NOT i.indisvalid THEN '(invalid)' END,
			CASE WHEN i.indisreplident THEN '(replica identity)' END, CASE WHEN i.indisclustered THEN '(clustered)' END, obj_description(i.indexrelid, 'pg_class'))
		FROM relations r JOIN pg_index i ON i.indrelid = r.oid},
	q{SELECT r.name, 'constraint ' || c.conname, concat_ws(' ', pg_get_constraintdef(c.oid), CASE WHEN NOT c.convalidated THEN '(not validated)' END,
			obj_description(c.oid, 'pg_constraint')) FROM relations r JOIN pg_constraint c ON c.conrelid = r.oid},
	q{SELECT r.name, 'trigger ' || t.tgname, concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled, obj_description(t.oid, 'pg_trigger'))
		FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal},
	q{SELECT r.name, 'rule ' || w.rulename, concat_ws(' ', pg_get_ruledef(w.oid), w.ev_enabled, obj_description(w.oid, 'pg_rewrite'))
		FROM relations r JOIN pg_rewrite w ON w.ev_class = r.oid AND w.rulename <> '_RETURN'},
	q{SELECT r.name, 'policy ' || p.polname, concat_ws(' ', p.polcmd, CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
			'to ' || (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE role::regrole::text END, ', ' ORDER BY role::regrole::text) FROM unnest(p.polroles) role),
			'using ' || pg_get_expr(p.polqual, p.polrelid), 'check ' || pg_get_expr(p.polwithcheck, p.polrelid), obj_description(p.oid, 'pg_policy'))
		FROM relations r JOIN pg_policy p ON p.polrelid = r.oid},
	q{SELECT r.name, 'statistics ' || s.stxname, concat_ws(' ', pg_get_statisticsobjdef(s.oid), obj_description(s.oid, 'pg_statistic_ext'))
		FROM relations r JOIN pg_statistic_ext s ON s.stxrelid = r.oid},
	q{SELECT r.name, 'inherits', string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) FROM relations r JOIN pg_inherits i ON i.inhrelid = r.oid GROUP BY 1},
	q{SELECT r.name, 'sequence', concat_ws(' ', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle,
			(SELECT concat('of ', d.refobjid::regclass, '.', t.attname) FROM pg_depend d JOIN pg_attribute t ON t.attrelid = d.refobjid AND t.attnum = d.refobjsubid
			  WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
		FROM relations r JOIN pg_sequence s ON s.seqrelid = r.oid},

	# Functions: pg_get_functiondef() holds all that they are.
	q{SELECT o.name, 'definition', CASE WHEN p.prokind = 'a' THEN to_jsonb(g)::text ELSE pg_get_functiondef(p.oid) END
		FROM ours o JOIN pg_proc p ON o.classid = 'pg_proc'::regclass AND p.oid = o.objid LEFT JOIN pg_aggregate g ON g.aggfnoid = p.oid},

	# Types, casts
	q{SELECT o.name, a.property, a.value FROM ours o JOIN pg_type t ON o.classid = 'pg_type'::regclass AND t.oid = o.objid, LATERAL (VALUES
		('kind', concat_ws(' ', t.typtype, t.typcategory, CASE WHEN t.typispreferred THEN 'preferred' END)),
		('form', concat_ws(' ', t.typlen, t.typbyval, t.typalign, t.typstorage, t.typdelim, t.typnotnull)),
		('functions', concat_ws(' ', t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin, t.typmodout, t.typanalyze, to_jsonb(t)->>'typsubscript')),
		('of', concat_ws(' ', nullif(t.typelem, 0)::regtype, nullif(t.typbasetype, 0)::regtype, nullif(t.typcollation, 0)::regcollation)),
		('default', t.typdefault), ('array', nullif(t.typarray, 0)::regtype::text),
		('labels', (SELECT string_agg(enumlabel, ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)),
		('range of', (SELECT concat_ws(' ', rngsubtype::regtype, rngsubopc, rngcollation) FROM pg_range r WHERE rngtypid = t.oid)),
		('constraints', (SELECT string_agg(conname || ' ' || pg_get_constraintdef(oid), ', ' ORDER BY conname) FROM pg_constraint WHERE contypid = t.oid))) a (property, value)},
	q{SELECT o.name, 'cast', concat_ws(' ', c.castcontext, c.castmethod, nullif(c.castfunc, 0)::regprocedure)
		FROM ours o JOIN pg_cast c ON o.classid = 'pg_cast'::regclass AND c.oid = o.objid},

	q{SELECT o.name, 'wrapper', concat_ws(' ', nullif(f.fdwhandler, 0)::regprocedure, nullif(f.fdwvalidator, 0)::regprocedure, f.fdwoptions)
		FROM ours o JOIN pg_foreign_data_wrapper f ON o.classid = 'pg_foreign_data_wrapper'::regclass AND f.oid = o.objid},
	q{SELECT o.name, 'event trigger', concat_ws(' ', e.evtevent, e.evtenabled, e.evttags, e.evtfoid::regprocedure)
		FROM ours o JOIN pg_event_trigger e ON o.classid = 'pg_event_trigger'::regclass AND e.oid = o.objid},
);

my @known = qw(pg_class pg_proc pg_type pg_cast pg_namespace pg_foreign_data_wrapper pg_event_trigger);

# The members, and the relations whose parts are listed.
sub preparation
{
	my ($extension, @with) = @_;
	my $with = join ', ', map { "'$_'" } @with;
	return qq{
		SET search_path = pg_catalog, pg_temp;
		CREATE FUNCTION pg_temp.acl_text(aclitem[]) RETURNS text LANGUAGE sql STABLE AS \$\$
			SELECT string_agg(a.line, ', ' ORDER BY a.line) FROM (
				SELECT concat(CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, '=', privilege_type,
					CASE WHEN is_grantable THEN '*' END, '/', grantor::regrole) AS line FROM aclexplode(\$1)) a \$\$;
		CREATE TEMP VIEW ext AS SELECT * FROM pg_extension WHERE extname = '$extension';
		CREATE TEMP TABLE ours AS
			SELECT d.classid, d.objid, i.type || ' ' || i.identity AS name, true AS member
			  FROM ext e JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e',
			  LATERAL pg_identify_object(d.classid, d.objid, 0) i
			UNION ALL
			SELECT 'pg_class'::regclass, c.oid, i.type || ' ' || i.identity, false
			  FROM ext e JOIN pg_class c ON c.relnamespace = e.extnamespace AND c.relname = ANY (ARRAY[$with]::name[]),
			  LATERAL pg_identify_object('pg_class'::regclass, c.oid, 0) i;
		CREATE TEMP TABLE relations AS
			SELECT objid AS oid, name FROM ours WHERE classid = 'pg_class'::regclass
			UNION ALL
			SELECT t.typrelid, o.name FROM ours o JOIN pg_type t ON o.classid = 'pg_type'::regclass AND t.oid = o.objid AND t.typtype = 'c';
	} =~ s/^\t\t//gmr;
}

sub extension_objects
{
	my ($node, $database, %option) = @_;
	my $extension = $option{extension} || 'smartlead';
	my $begin = preparation($extension, @{ $option{with} || [] });
	my $known = join ', ', map { "'$_'::regclass" } @known;
	my $all = join "\nUNION ALL\n", map { s/\bacl_text\(/pg_temp.acl_text(/gr } @queries;
	my $lines = $node->safe_psql($database, "$begin
		SELECT 'unknown ' || name FROM ours WHERE classid NOT IN ($known)
		UNION ALL
		SELECT concat(object, ': ', property, ': ', replace(replace(value, E'\\\\', E'\\\\\\\\'), E'\\n', E'\\\\n'))
		  FROM ($all) AS x (object, property, value) WHERE value <> ''");
	my @lines = sort split /\n/, $lines;
	die "extension $extension is not in database $database\n" unless @lines;
	my @unknown = grep { /^unknown / } @lines;
	die "nobody has told SmartleadObjects what these consist of: @unknown\n" if @unknown;
	return @lines;
}

# The lines that only one of two lists has: "- " those of the first, "+ " those of the second.
sub differences
{
	my ($first, $second) = @_;
	my %count;
	$count{$_}-- for @$first;
	$count{$_}++ for @$second;
	return join "\n", map { ($count{$_} < 0 ? '- ' : '+ ') . $_ } grep { $count{$_} } sort keys %count;
}

1;
