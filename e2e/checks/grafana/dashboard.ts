// What Grafana takes for a dashboard, by the types of its own schema. Compiled and never run: `test_monitoring.py` puts a
// dashboard behind it, whose fields then have to be Grafana's, with values that Grafana knows.
import type { Dashboard, DataSourceRef, FieldConfigSource, Panel, RowPanel } from "@grafana/schema";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// A type as JSON has it: words, where TypeScript has an enumeration of them.
type Json<T> = T extends string
  ? `${T}`
  : T extends readonly (infer Item)[]
    ? Json<Item>[]
    : T extends object
      ? { [Key in keyof T]: Json<T[Key]> }
      : T;

// Queries belong to data sources; this is Prometheus' part of one.
interface Query {
  refId: string;
  datasource: DataSourceRef;
  expr: string;
  legendFormat?: string;
  exemplar?: boolean;
  format?: "time_series" | "table" | "heatmap";
  instant?: boolean;
  range?: boolean;
}

// An option that is left out is Grafana's default.
type PanelOf<Type extends string, Options, Custom> = Omit<Panel, "type" | "options" | "fieldConfig" | "targets"> & {
  type: Type;
  options: Partial<Options>;
  fieldConfig: Omit<FieldConfigSource, "defaults"> & {
    defaults: Omit<FieldConfigSource["defaults"], "custom"> & { custom?: Custom };
  };
  targets: Query[];
};

type Known = Omit<Dashboard, "panels"> & {
  panels: (RowPanel | PanelOf<"stat", stat.Options, never> | PanelOf<"timeseries", timeseries.Options, timeseries.FieldConfig>)[];
};

export const dashboard: Json<Known> =
