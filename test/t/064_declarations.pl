# What is made of the declarations of endpoints: docs/endpoints.md is up to date, every awk makes the same, and a fault
# stops the build where it stands. Needs no server.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

# What a program of endpoints/ makes of declarations: its exit code, what it prints, what it says.
sub made
{
	my ($program, $files, @awk) = @_;
	@awk = ('awk') unless @awk;
	local $ENV{LC_ALL} = 'C';
	my ($out, $err) = ('', '');
	IPC::Run::run [ @awk, '-f', 'endpoints/read.awk', '-f', "endpoints/$program.awk", @$files ], '>', \$out, '2>', \$err;
	return ($? >> 8, $out, $err);
}

my @declarations = sort glob 'endpoints/*.def';
is((made('docs', \@declarations))[1], slurp_file('docs/endpoints.md'), 'D7: docs/endpoints.md is what "make docs" makes');
for my $awk ([qw(mawk)], [qw(gawk --posix)], [qw(busybox awk)], [qw(original-awk)])
{
	SKIP:
	{
		skip "no $awk->[0] here", 3 unless grep { -x "$_/$awk->[0]" } split /:/, $ENV{PATH};
		is((made($_, \@declarations, @$awk))[1], (made($_, \@declarations))[1], "D8: $awk->[0] makes the same of $_.awk") for qw(table functions docs);
	}
}

# ---- faults ----

my $right = <<'DEF';
subject Things

type thing
	-- a thing
	id    bigint
	name  text, from title -- what it's called
	"--" is null

action make_thing
	-- makes a thing.
	POST /things/{thing_id}/parts
	thing_id  bigint
	name      text, required, sent as title
	parts     text[], 100 a request
	not repeatable
	known from documentation
DEF

sub faults_of
{
	my ($text) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	append_to_file("$dir/things.def", $text);
	my ($code, $out, $err) = made('functions', ["$dir/things.def"]);
	$err =~ s/^\Q$dir\E\///mg;
	return ($code, $err, $out);
}

my ($code, $err, $sql) = faults_of($right);
is("$code$err", '0', 'D8: a declaration without a fault');
like($sql, qr/COMMENT ON COLUMN \@extschema@.smartlead_thing.name IS 'what it''s called';/, 'D8: quotes are doubled in SQL');

# What is replaced in it, by what, and the fault: the line, and what is said.
for (
	[ 'name      text',     'name      txt',               13, qr/"name      txt, required, sent as title"|neither an argument/ ],
	[ 'sent as title',      'send as title',               13, qr/an argument of type text has no clause "send as title"/ ],
	[ 'sent as title',      'or sent as',                  13, qr/no clause "or sent as"/ ],
	[ 'parts     text\[\]', 'parts     text',              14, qr/no clause "100 a request"/ ],
	[ '100 a request',      '1..9',                        14, qr/type text\[\] has no clause "1..9"/ ],
	[ '100 a request',      'an array',                    14, qr/no clause "an array"/ ],
	[ '100 a request',      'one of',                      14, qr/no clause "one of"/ ],
	[ '100 a request',      'in the query',                14, qr/a text\[\] can't go into a query/ ],
	[ 'thing_id  bigint',   'thing_id  bigint, one of 1 2', 12, qr/type bigint has no clause "one of 1 2"/ ],
	[ 'thing_id  bigint',   'thing_id  bigint, ..',        12, qr/no clause ".."/ ],
	[ 'parts     text',     'name      text',              14, qr/argument name is there twice/ ],
	[ 'not repeatable',     'urgent',                      9,  qr/must say whether it is repeatable/ ],
	[ 'not repeatable',     'not repeatable, quick',       15, qr/"quick" is neither/ ],
	[ 'not repeatable',     'not repeatable, about 9 rows', 15, qr/"about 9 rows" is neither/ ],
	[ 'from documentation', 'from hearsay',                16, qr/no source "hearsay"/ ],
	[ "\tknown from.*\n",   '',                            9,  qr/must say what it is known from/ ],
	[ "\t-- makes.*\n",     '',                            9,  qr/has no comment/ ],
	[ "\t-- a thing\n",     '',                            3,  qr/has no comment/ ],
	[ "\tPOST.*\n",         '',                            11, qr/the route comes before the arguments/ ],
	[ 'thing_id  bigint',   'id        bigint, required',  9,  qr/the path names \{thing_id\}, which is no argument/ ],
	[ 'text, required',     'text',                        0,  qr/^$/ ],
	[ 'thing_id  bigint\n\tname      text, required', "name  text\n\tthing_id  bigint", 13, qr/argument thing_id is required, and comes after name/ ],
	[ 'thing_id  bigint',   'thing_id  bigint, found out', 12, qr/needs a "completed by"/ ],
	[ 'action make_thing',  'action make_thing returns thong', 9, qr/no type that is declared/ ],
	[ 'action make_thing',  'action make_thing returns thing', 9, qr/a row by a function of its own/ ],
	[ 'action make_thing',  'action make_thing returns bigint', 9, qr/"counts FIELD" go together/ ],
	[ 'not repeatable',     "costs money\n\trepeatable",  9,  qr/costs something, and is repeatable/ ],
	[ 'not repeatable',     "not repeatable\n\tat home", 16, qr/"at home" is neither/ ],
	[ 'action make_thing',  'action make_thing return bigint', 9, qr/"return" after the name/ ],
	[ 'action make_thing',  "listing make_thing returns thing\n\tpages of 9, rows told apart by id", 9, qr/pages are asked for in the query of a GET/ ],
	[ 'action make_thing',  'deed make_thing',             9,  qr/no declaration begins with "deed make_thing"/ ],
	[ 'subject Things\n',   '',                            2,  qr/a file begins with its subject/ ],
	[ 'type thing',         "type thing\n\t-- a thing\n\tid bigint\n\ntype thing", 7, qr/type thing is declared twice/ ],
	[ '"--" is null',       '"--" is nothing',             7,  qr/neither a column/ ],
	[ 'from title',         'form title',                  6,  qr/a column has no clause "form title"/ ],
	[ '\z',                 "\n" . ($right =~ s/.*(?=action)//sr), 18, qr/is declared before, at/ ],
	)
{
	my ($from, $to, $line, $said) = @$_;
	(my $wrong = $right) =~ s/$from/$to/ or die "nothing is \"$from\"";
	($code, $err) = faults_of($wrong);
	my $at = $line ? qr/^things\.def:$line: error: / : qr/^/;
	ok(($line ? $code != 0 : $code == 0) && $err =~ $at && $err =~ $said, "D8: \"$from\" as \"$to\"") or diag "$code $err";
}

done_testing();
