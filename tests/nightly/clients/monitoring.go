// Calls every method of mackerel-client-go on monitors, alerts, downtimes, channels, notification groups, alert group
// settings, dashboards and graph annotations, and compares what comes back with what was sent.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"time"

	mackerel "github.com/mackerelio/mackerel-client-go"
)

func must(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func same(what string, ours, theirs any) {
	if !reflect.DeepEqual(ours, theirs) {
		first, _ := json.Marshal(ours)
		second, _ := json.Marshal(theirs)
		fmt.Printf("%s differ:\n%s\n%s\n", what, first, second)
		os.Exit(1)
	}
}

func number(value float64) *float64 { return &value }

func monitors(client *mackerel.Client) {
	back := uint64(3)
	sent := []mackerel.Monitor{
		&mackerel.MonitorConnectivity{Name: "gone", Type: "connectivity", Scopes: []string{"shop"}},
		&mackerel.MonitorHostMetric{Name: "load", Type: "host", Metric: "loadavg5", Operator: ">", Warning: number(4),
			Critical: number(8.5), Duration: 3, MaxCheckAttempts: 2, NotificationInterval: 60},
		&mackerel.MonitorServiceMetric{Name: "errors", Type: "service", Service: "shop", Metric: "errors", Operator: ">",
			Critical: number(0), Duration: 1, MissingDurationWarning: 10},
		&mackerel.MonitorExternalHTTP{Name: "site", Type: "external", Method: "GET", URL: "https://example.com/?a=1&b=<2>",
			Headers: []mackerel.HeaderField{{Name: "Cache-Control", Value: "no-cache"}}},
		&mackerel.MonitorExpression{Name: "average", Type: "expression", Expression: "avg(role(shop:web, loadavg5))",
			Operator: ">", Warning: number(2), EvaluateBackwardMinutes: &back},
		&mackerel.MonitorAnomalyDetection{Name: "unlike", Type: "anomalyDetection", Scopes: []string{"shop: web"},
			WarningSensitivity: "normal"},
		&mackerel.MonitorQuery{Name: "query", Type: "query", Query: "max by (host) (load)", Operator: ">",
			Critical: number(9), Legend: "{{host}}"},
	}
	made := map[string]mackerel.Monitor{}
	for _, each := range sent {
		one, err := client.CreateMonitor(each)
		must(err)
		got, err := client.GetMonitor(one.MonitorID())
		must(err)
		same("GetMonitor", one, got)
		again, err := client.UpdateMonitor(one.MonitorID(), one)
		must(err)
		same("UpdateMonitor", one, again)
		made[one.MonitorID()] = one
	}
	found, err := client.FindMonitors()
	must(err)
	same("FindMonitors", len(made), len(found))
	for _, each := range found {
		same("FindMonitors", made[each.MonitorID()], each)
		gone, err := client.DeleteMonitor(each.MonitorID())
		must(err)
		same("DeleteMonitor", each, gone)
	}
}

func alerts(client *mackerel.Client) {
	host, err := client.CreateHost(&mackerel.CreateHostParam{Name: "h"})
	must(err)
	for _, name := range []string{"first", "second"} {
		must(client.PostCheckReports(&mackerel.CheckReports{Reports: []*mackerel.CheckReport{{
			Source: mackerel.NewCheckSourceHost(host), Name: name, Status: mackerel.CheckStatusCritical, Message: "down",
			OccurredAt: time.Now().Unix()}}}))
	}
	open, err := client.FindAlerts()
	must(err)
	same("FindAlerts", 2, len(open.Alerts))
	one := open.Alerts[0]
	same("an alert", []any{"CRITICAL", "check", host, "down"}, []any{one.Status, one.Type, one.HostID, one.Message})
	next, err := client.FindAlertsByNextID(one.ID)
	must(err)
	same("FindAlertsByNextID", open.Alerts[1:], next.Alerts)
	got, err := client.GetAlert(one.ID)
	must(err)
	same("GetAlert", one, got)
	memo, err := client.UpdateAlert(one.ID, mackerel.UpdateAlertParam{Memo: "seen"})
	must(err)
	same("UpdateAlert", "seen", memo.Memo)
	closed, err := client.CloseAlert(one.ID, "restarted")
	must(err)
	same("CloseAlert", []any{"OK", "restarted", "seen"}, []any{closed.Status, closed.Reason, closed.Memo})
	all, err := client.FindWithClosedAlerts()
	must(err)
	same("FindWithClosedAlerts", 2, len(all.Alerts))
	rest, err := client.FindWithClosedAlertsByNextID(all.Alerts[0].ID)
	must(err)
	same("FindWithClosedAlertsByNextID", all.Alerts[1:], rest.Alerts)
	limit := 1
	logs, err := client.FindAlertLogs(one.ID, &mackerel.FindAlertLogsParam{Limit: &limit})
	must(err)
	same("FindAlertLogs", []any{1, "OK", "manual"}, []any{len(logs.AlertLogs), logs.AlertLogs[0].Status, logs.AlertLogs[0].Trigger})
	older, err := client.FindAlertLogs(one.ID, &mackerel.FindAlertLogsParam{NextId: &logs.NextID})
	must(err)
	same("FindAlertLogs", []any{"CRITICAL", "down"}, []any{older.AlertLogs[0].Status, older.AlertLogs[0].StatusDetail.Detail.Message})
}

func downtimes(client *mackerel.Client) {
	one, err := client.CreateDowntime(&mackerel.Downtime{Name: "nights", Start: 1700000000, Duration: 60,
		Recurrence: &mackerel.DowntimeRecurrence{Type: mackerel.DowntimeRecurrenceTypeWeekly, Interval: 2, Until: 1900000000,
			Weekdays: []mackerel.DowntimeWeekday{mackerel.DowntimeWeekday(time.Monday)}},
		ServiceScopes: []string{"shop"}, RoleExcludeScopes: []string{"shop: db"}})
	must(err)
	found, err := client.FindDowntimes()
	must(err)
	same("FindDowntimes", []*mackerel.Downtime{one}, found)
	one.Memo = "changed"
	changed, err := client.UpdateDowntime(one.ID, one)
	must(err)
	same("UpdateDowntime", one, changed)
	gone, err := client.DeleteDowntime(one.ID)
	must(err)
	same("DeleteDowntime", one, gone)
}

func channels(client *mackerel.Client) {
	yes, events, mails := true, []string{"alert"}, []string{"ops@example.com"}
	for _, sent := range []*mackerel.Channel{
		{Name: "mail", Type: "email", Emails: &mails, Events: &events},
		{Name: "slack", Type: "slack", URL: "https://slack.example/hook", EnabledGraphImage: &yes,
			Mentions: mackerel.Mentions{Critical: "<!here>"}, Events: &events},
		{Name: "hook", Type: "webhook", URL: "https://hook.example/", Events: &events},
	} {
		one, err := client.CreateChannel(sent)
		must(err)
		found, err := client.FindChannels()
		must(err)
		same("FindChannels", []*mackerel.Channel{one}, found)
		one.Name = "changed"
		changed, err := client.UpdateChannel(one.ID, one)
		must(err)
		same("UpdateChannel", one, changed)
		gone, err := client.DeleteChannel(one.ID)
		must(err)
		same("DeleteChannel", one, gone)
	}
}

func groups(client *mackerel.Client) {
	one, err := client.CreateNotificationGroup(&mackerel.NotificationGroup{Name: "night", NotificationLevel: "critical",
		ChildNotificationGroupIDs: []string{}, ChildChannelIDs: []string{},
		Services: []*mackerel.NotificationGroupService{{Name: "shop"}}})
	must(err)
	found, err := client.FindNotificationGroups()
	must(err)
	same("FindNotificationGroups", one, found[len(found)-1])
	one.Name = "nights"
	changed, err := client.UpdateNotificationGroup(one.ID, one)
	must(err)
	same("UpdateNotificationGroup", one, changed)
	gone, err := client.DeleteNotificationGroup(one.ID)
	must(err)
	same("DeleteNotificationGroup", one, gone)
}

func settings(client *mackerel.Client) {
	one, err := client.CreateAlertGroupSetting(&mackerel.AlertGroupSetting{Name: "shop", Memo: "m",
		ServiceScopes: []string{"shop"}, RoleScopes: []string{"shop: db"}, NotificationInterval: 60})
	must(err)
	found, err := client.FindAlertGroupSettings()
	must(err)
	same("FindAlertGroupSettings", []*mackerel.AlertGroupSetting{one}, found)
	got, err := client.GetAlertGroupSetting(one.ID)
	must(err)
	same("GetAlertGroupSetting", one, got)
	one.Memo = "changed"
	changed, err := client.UpdateAlertGroupSetting(one.ID, one)
	must(err)
	same("UpdateAlertGroupSetting", one, changed)
	gone, err := client.DeleteAlertGroupSetting(one.ID)
	must(err)
	same("DeleteAlertGroupSetting", one, gone)
}

func dashboards(client *mackerel.Client) {
	places, zero := mackerel.Layout{X: 0, Y: 0, Width: 12, Height: 6}, int64(0)
	sent := &mackerel.Dashboard{Title: "Shop", URLPath: "shop", Memo: "m", Widgets: []mackerel.Widget{
		{Type: "markdown", Title: "notes", Layout: places, Markdown: "# <b> & more"},
		{Type: "graph", Title: "host", Layout: places, Graph: mackerel.Graph{Type: "host", HostID: "h", Name: "loadavg"},
			Range: mackerel.Range{Type: "relative", Period: 3600}},
		{Type: "graph", Title: "role", Layout: places, Graph: mackerel.Graph{Type: "role", RoleFullName: "shop:web",
			Name: "loadavg5", IsStacked: true}, Range: mackerel.Range{Type: "absolute", Start: 1700000000, End: 1700003600}},
		{Type: "graph", Title: "query", Layout: places, Graph: mackerel.Graph{Type: "query", Query: "up", Legend: ""},
			ReferenceLines: []mackerel.ReferenceLine{{Label: "most", Value: 1.5}}, LegendList: []string{"a"}},
		{Type: "value", Title: "value", Layout: places, Metric: mackerel.Metric{Type: "expression", Expression: "max(host(h, m))"},
			FractionSize: &zero, Suffix: "%", FormatRules: []mackerel.FormatRule{{Name: "red", Threshold: 9, Operator: ">"}}},
		{Type: "alertStatus", Title: "alerts", Layout: places, RoleFullName: "shop:web"},
	}}
	one, err := client.CreateDashboard(sent)
	must(err)
	same("CreateDashboard", sent.Widgets, one.Widgets)
	got, err := client.FindDashboard(one.ID)
	must(err)
	same("FindDashboard", one, got)
	found, err := client.FindDashboards()
	must(err)
	same("FindDashboards", []any{1, one.ID, "Shop"}, []any{len(found), found[0].ID, found[0].Title})
	one.Memo = "changed"
	changed, err := client.UpdateDashboard(one.ID, one)
	must(err)
	same("UpdateDashboard", []any{one.Memo, one.Widgets}, []any{changed.Memo, changed.Widgets})
	gone, err := client.DeleteDashboard(one.ID)
	must(err)
	same("DeleteDashboard", changed, gone)
}

func annotations(client *mackerel.Client) {
	one, err := client.CreateGraphAnnotation(&mackerel.GraphAnnotation{Title: "deploy", Description: "v2", From: 1700000000,
		To: 1700000060, Service: "shop", Roles: []string{"web"}})
	must(err)
	found, err := client.FindGraphAnnotations("shop", 1699999000, 1700001000)
	must(err)
	same("FindGraphAnnotations", []*mackerel.GraphAnnotation{one}, found)
	one.Title = "changed"
	changed, err := client.UpdateGraphAnnotation(one.ID, one)
	must(err)
	same("UpdateGraphAnnotation", one, changed)
	gone, err := client.DeleteGraphAnnotation(one.ID)
	must(err)
	same("DeleteGraphAnnotation", one, gone)
}

func main() {
	client, err := mackerel.NewClientWithOptions(os.Getenv("KEY"), os.Getenv("URL"), false)
	must(err)
	monitors(client)
	alerts(client)
	downtimes(client)
	channels(client)
	groups(client)
	settings(client)
	dashboards(client)
	annotations(client)
	users, err := client.FindUsers()
	must(err)
	same("FindUsers", 0, len(users))
	fmt.Println("all agree")
}
