// client HOST PORT PAUSE USE: what a pool of pgx's does with one connection; or client version.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

func main() {
	if len(os.Args) == 2 {
		info, _ := debug.ReadBuildInfo()
		for _, module := range info.Deps {
			if module.Path == "github.com/jackc/pgx/v5" {
				fmt.Println(module.Version[1:]+",", runtime.Version())
			}
		}
		return
	}
	host, port, use := os.Args[1], os.Args[2], os.Args[4]
	pause, err := time.ParseDuration(os.Args[3] + "s")
	if err != nil {
		log.Fatal(err)
	}
	settings, err := pgxpool.ParseConfig(fmt.Sprintf(
		"host=%s port=%s user=postgres dbname=postgres sslmode=require pool_max_conns=1", host, port))
	if err != nil {
		log.Fatal(err)
	}
	if use == "max-idle" {
		settings.MaxConnIdleTime = time.Second
		settings.HealthCheckPeriod = 250 * time.Millisecond
	}
	ctx := context.Background()
	pool, err := pgxpool.NewWithConfig(ctx, settings)
	if err != nil {
		log.Fatal(err)
	}
	query(ctx, pool)
	if pause > 0 {
		time.Sleep(pause)
		query(ctx, pool)
	}
	pool.Close()
}

func query(ctx context.Context, pool *pgxpool.Pool) {
	if _, err := pool.Exec(ctx, "select 1"); err != nil {
		fmt.Println("query failed:", err)
		return
	}
	fmt.Println("query answered")
}
