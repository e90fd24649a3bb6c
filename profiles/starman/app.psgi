my $large = "x" x (1 << 20);
sub {
    my $body = $_[0]{PATH_INFO} eq "/large" ? $large : "hello from Starman\n";
    [200, ["Content-Type", "text/plain", "Content-Length", length $body], [$body]];
};
