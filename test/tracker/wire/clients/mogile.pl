#!/usr/bin/perl
# A MogileFS client of the bare minimum, with the bytes of MogileFS::Client. Arguments: HOST:PORT of
# the tracker and a domain. Prints ok, or dies saying what was wrong.
use strict;
use warnings;
use IO::Socket::INET;

my ($tracker, $domain) = @ARGV;
my $sock = IO::Socket::INET->new(PeerAddr => $tracker, Proto => 'tcp', Timeout => 3)
    or die "cannot connect to $tracker: $!\n";

sub encode {
    my ($text) = @_;
    $text =~ s/([^a-zA-Z0-9_,\-.\/\\: ])/sprintf '%%%02X', ord $1/eg;
    $text =~ tr/ /+/;
    return $text;
}

sub decode {
    my %pairs;
    for (split /&/, shift) {
        my ($name, $value) = map { tr/+/ /; s/%([a-fA-F0-9]{2})/chr hex $1/eg; $_ } split /=/;
        $pairs{$name} = $value;
    }
    return \%pairs;
}

# The pairs of an OK answer, or the code of an ERR one.
sub ask {
    my ($command, %args) = @_;
    my $line = "$command " . join('&', map { encode($_) . '=' . encode($args{$_}) } sort keys %args);
    $sock->syswrite("$line\r\n") == length($line) + 2 or die "$command: not sent\n";
    my $answer = '';
    until ($answer =~ /\r\n/) {
        sysread($sock, $answer, 65536, length $answer) or die "$command: no answer\n";
    }
    return $1 if $answer =~ /^ERR\s+(\w+)\s*(\S*)/;
    return decode($1) if $answer =~ /^OK\s+\d*\s*(\S*)/;
    die "$command: cannot read $answer\n";
}

sub want {
    my ($command, %args) = @_;
    my $answer = ask($command, %args);
    ref $answer or die "$command: $answer\n";
    return $answer;
}

sub http {
    my ($url, $method, $head, $body) = @_;
    my ($host, $path) = $url =~ m!^http://([^/]+:\d+)(/.+)$! or die "no URL: $url\n";
    my $node = IO::Socket::INET->new(PeerAddr => $host, Timeout => 3) or die "$host: $!\n";
    $node->print("$method $path HTTP/1.0\r\n$head\r\n$body");
    local $/;
    my $answer = <$node>;
    $answer =~ m!^HTTP/1\.[01] 2\d\d! or die "$method $url: $answer\n";
    return $answer =~ /\r\n\r\n(.*)/s ? $1 : '';
}

my $key = "from perl/caf\xc3\xa9 & 100%";
my $content = "h\xe9llo\r\n";
my $opened = want('create_open', domain => $domain, class => '', key => $key, fid => 0, multi_dest => 1);
$opened->{dev_count} >= 1 or die "no dev_count\n";
http($opened->{path_1}, 'PUT', 'Content-length: ' . length($content) . "\r\n", $content);
want(
    'create_close',
    fid => $opened->{fid}, devid => $opened->{devid_1}, domain => $domain,
    size => length $content, key => $key, path => $opened->{path_1},
);
my $paths = want('get_paths', domain => $domain, key => $key, noverify => 0, pathcount => 2);
http($paths->{path1}, 'GET', '', '') eq $content or die "other bytes came back\n";
my $info = want('file_info', domain => $domain, key => $key);
$info->{length} == length $content && $info->{key} eq $key or die "file_info is wrong\n";
my $listed = want('list_keys', domain => $domain, prefix => 'from perl/', after => '', limit => 1000);
$listed->{key_1} eq $key or die "list_keys is wrong\n";
ask('list_keys', domain => $domain, prefix => 'from perl/', after => $listed->{next_after}) eq 'none_match'
    or die "the list does not end\n";
want('rename', domain => $domain, from_key => $key, to_key => "$key.2");
want('delete', domain => $domain, key => "$key.2");
ask('delete', domain => $domain, key => $key) eq 'unknown_key' or die "deleted, yet there\n";
print "ok\n";
