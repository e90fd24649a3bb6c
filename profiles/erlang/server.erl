%% erl -s server main HOST PORT CERT KEY IDLE_MS
-module(server).
-export([main/1]).

main(Arguments) ->
    [Host, Port, Cert, Key, Idle] = [atom_to_list(Argument) || Argument <- Arguments],
    {ok, _} = application:ensure_all_started(ssl),
    {ok, Address} = inet:parse_address(Host),
    {ok, Listener} = ssl:listen(list_to_integer(Port), [
        {ip, Address}, {certfile, Cert}, {keyfile, Key}, {versions, ['tlsv1.3', 'tlsv1.2']},
        binary, {packet, http_bin}, {active, false}, {reuseaddr, true}, {backlog, 256}
    ]),
    accept(Listener, list_to_integer(Idle)).

accept(Listener, Idle) ->
    {ok, Connection} = ssl:transport_accept(Listener),
    Serving = spawn(fun() -> receive go -> serve(Connection, Idle) end end),
    ok = ssl:controlling_process(Connection, Serving),
    Serving ! go,
    accept(Listener, Idle).

serve(Connection, Idle) ->
    case ssl:handshake(Connection) of
        {ok, Socket} -> requests(Socket, Idle);
        {error, _} -> ok
    end.

requests(Socket, Idle) ->
    case head(Socket, Idle, none, keep) of
        {Path, Then} ->
            Sent = ssl:send(Socket, response(body(Path), Then)),
            case {Sent, Then} of
                {ok, keep} -> requests(Socket, Idle);
                _ -> ssl:close(Socket)
            end;
        ended ->
            ssl:close(Socket)
    end.

%% Bodies are not read: what follows a head is taken for the next one.
head(Socket, Idle, Path, Then) ->
    case ssl:recv(Socket, 0, Idle) of
        {ok, {http_request, _, {abs_path, Asked}, _}} -> head(Socket, Idle, Asked, Then);
        {ok, {http_header, _, 'Connection', _, <<"close">>}} -> head(Socket, Idle, Path, close);
        {ok, {http_header, _, _, _, _}} -> head(Socket, Idle, Path, Then);
        {ok, http_eoh} when Path =/= none -> {Path, Then};
        _ -> ended
    end.

body(<<"/large">>) -> binary:copy(<<"x">>, 1 bsl 20);
body(_) -> <<"hello from Erlang\n">>.

response(Body, Then) ->
    Says = case Then of keep -> <<"keep-alive">>; close -> <<"close">> end,
    Length = integer_to_binary(byte_size(Body)),
    [<<"HTTP/1.1 200 OK\r\nConnection: ">>, Says, <<"\r\nContent-Length: ">>, Length,
     <<"\r\n\r\n">>, Body].
