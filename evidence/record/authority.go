package record

import "slices"

// Emitter is a component of this program that emits evidence. The table of
// authorities below says which types each may emit (S6.3 §10.1).
type Emitter string

// The components. A type owned by a subsystem that has no component of its
// own here is open to the one that stands in for it; see the table.
const (
	EmitterLog          Emitter = "log"          // the log engine itself; never accepted from a caller
	EmitterPolicy       Emitter = "policy"       // policy kernel
	EmitterApproval     Emitter = "approval"     // approval manager
	EmitterOverride     Emitter = "override"     // emergency override manager
	EmitterIdentity     Emitter = "identity"     // identity service
	EmitterVault        Emitter = "vault"        // vault broker
	EmitterRuntime      Emitter = "runtime"      // capability runtime
	EmitterAdapter      Emitter = "adapter"      // an adapter of the runtime
	EmitterDirectory    Emitter = "directory"    // adapter directory
	EmitterSandbox      Emitter = "sandbox"      // sandbox enforcer
	EmitterTranslator   Emitter = "translator"   // capability translator
	EmitterRouter       Emitter = "router"       // latency tier router
	EmitterModel        Emitter = "model"        // model router
	EmitterCognition    Emitter = "cognition"    // cognitive runtime (agents)
	EmitterVerification Emitter = "verification" // verification engine
	EmitterStore        Emitter = "store"        // object store
	EmitterMount        Emitter = "mount"        // filesystem boundary
	EmitterRecovery     Emitter = "recovery"     // recovery supervisor
	EmitterSupervisor   Emitter = "supervisor"   // supervisors, breakers, boot checks
	EmitterGovernance   Emitter = "governance"   // invariants, status gates, grades
	EmitterArtifact     Emitter = "artifact"     // build, test and health subjects
	EmitterTelemetry    Emitter = "telemetry"    // telemetry pipeline
	EmitterCLI          Emitter = "cli"          // command line
	EmitterUI           Emitter = "ui"           // graphical and web renderers
	EmitterNetwork      Emitter = "network"      // network policy, DNS, bridges
	EmitterHardware     Emitter = "hardware"     // hardware, GPU, firmware
	EmitterPackages     Emitter = "packages"     // packages, repositories, marketplace
	EmitterApps         Emitter = "apps"         // app runtime and compatibility
	EmitterUnits        Emitter = "units"        // unit graph runtime (SGR)
	EmitterKernel       Emitter = "kernel"       // kernel builder and boot loader
)

// authorities maps the reference's wording to components. Every distinct
// wording of the column append_authority has a row.
var authorities = map[string][]Emitter{
	"AIOS-FS write boundary":            {EmitterMount},
	"CLI renderer (+ identity service)": {EmitterCLI, EmitterIdentity},
	"DNS/VPN service":                   {EmitterNetwork},
	"GPU resource manager":              {EmitterHardware},
	"KDE renderer":                      {EmitterUI},
	"L0 governance (bundle) / policy kernel (web exposure)": {EmitterGovernance, EmitterPolicy},
	"SGR dispatcher / dependency solver":                    {EmitterUnits},
	"SGR evaluator/dispatcher":                              {EmitterUnits},
	"SGR runtime":                                           {EmitterUnits},
	"UI schema/renderer process":                            {EmitterUI},
	"adapter":                                               {EmitterAdapter},
	"adapter directory":                                     {EmitterDirectory},
	"adapter directory / sandbox enforcer":                  {EmitterDirectory, EmitterSandbox},
	"app runtime orchestrator":                              {EmitterApps},
	"approval manager":                                      {EmitterApproval},
	"artifact/build/test/CI/rehearsal/health subjects, never AI author": {EmitterArtifact},
	"capability runtime":                                      {EmitterRuntime},
	"capability runtime only":                                 {EmitterRuntime},
	"cognitive runtime":                                       {EmitterCognition},
	"cognitive runtime; enforcers for refusals":               {EmitterCognition, EmitterPolicy, EmitterSandbox, EmitterMount, EmitterRuntime},
	"compat orchestrator / sandbox enforcer":                  {EmitterApps, EmitterSandbox},
	"compat profile registry":                                 {EmitterApps},
	"external bridge / L9 admin":                              {EmitterNetwork},
	"external bridge service":                                 {EmitterNetwork},
	"firmware update service":                                 {EmitterHardware},
	"first-boot services":                                     {EmitterRecovery, EmitterIdentity, EmitterMount},
	"gate evaluator":                                          {EmitterGovernance},
	"hardware manager":                                        {EmitterHardware},
	"hardware manager / firmware update service":              {EmitterHardware},
	"identity service":                                        {EmitterIdentity},
	"install pipeline / publisher catalog / review scheduler": {EmitterPackages},
	"kernel builder / bootloader / recovery supervisor":       {EmitterKernel, EmitterRecovery},
	"kernel/runtime (hard-deny site)":                         {EmitterPolicy, EmitterRuntime},
	"log engine only":                                         {EmitterLog},
	"log engine or recovery supervisor":                       {EmitterLog, EmitterRecovery},
	"marketplace engine":                                      {EmitterPackages},
	"model router":                                            {EmitterModel},
	"model router (+ vault, network on deny)":                 {EmitterModel, EmitterVault, EmitterNetwork},
	"network policy service":                                  {EmitterNetwork},
	"object store":                                            {EmitterStore},
	"object store / log engine":                               {EmitterStore, EmitterLog},
	"override manager":                                        {EmitterOverride},
	"override manager (CONSUMED: capability runtime)":         {EmitterOverride, EmitterRuntime},
	"package object engine / sandbox enforcer":                {EmitterPackages, EmitterSandbox},
	"policy kernel":                                           {EmitterPolicy},
	"policy kernel only":                                      {EmitterPolicy},
	"recovery supervisor / boot sequencer":                    {EmitterRecovery},
	"repository/install service (root+publisher keys: recovery trust-root manager)": {EmitterPackages, EmitterRecovery},
	"router": {EmitterRouter},
	"supervisors, breaker, boot checker, recovery supervisor": {EmitterSupervisor, EmitterRecovery},
	"surface registry":   {EmitterUI},
	"telemetry pipeline": {EmitterTelemetry},
	"the rejecting bundle loader / failure rate limiter": {EmitterPolicy, EmitterIdentity, EmitterGovernance, EmitterSupervisor},
	"theme owner process":                                {EmitterUI},
	"translator":                                         {EmitterTranslator},
	"vault broker":                                       {EmitterVault},
	"vault broker (first-boot / recovery rekey)":         {EmitterVault, EmitterRecovery},
	"verification engine":                                {EmitterVerification},
	"web renderer":                                       {EmitterUI},
}

// AppendAuthority returns the reference's wording of who may emit the type.
func (t Type) AppendAuthority() string {
	if !t.Valid() {
		return ""
	}
	return typeAuthority[t]
}

// Emitters returns the components that may emit the type.
func (t Type) Emitters() []Emitter {
	all := slices.Clone(authorities[t.AppendAuthority()])
	return slices.DeleteFunc(all, func(e Emitter) bool { return !t.MayEmit(e) })
}

// MayEmit reports whether the component may emit the type. Of the override
// records, the runtime emits only the consumption.
func (t Type) MayEmit(e Emitter) bool {
	if e == EmitterRuntime && t >= OverrideRequested && t <= OverrideReview && t != OverrideConsumed {
		return false
	}
	return slices.Contains(authorities[t.AppendAuthority()], e)
}
